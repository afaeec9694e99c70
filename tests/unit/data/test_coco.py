"""Karpathy's split files: a tiny COCO with every oddity, and Flickr's files without folders and ids."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from karpathy import SIZES, entries, entry, write_annotations, write_coco, write_images, write_split
from PIL import Image

from lile.data import coco
from lile.data.coco import read_coco, read_split
from lile.data.records import Records, check_records, read_images, report_text, write_records
from lile.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "coco"


def reasons(records: Records) -> Counter[str]:
    """How often each reason stands in the report, but for the splits that are smaller than COCO's."""
    return Counter(reason for reason in records.report["reason"] if reason != "split_unlike_published")


def detail(records: Records, reason: str) -> str:
    return str(records.report.set_index("reason").loc[reason]["detail"])


def test_what_is_read_in_the_files_own_order(root):
    records = read_coco(write_coco(root), "decode")
    check_records(records)
    assert records.images["image_id"].tolist() == [f"coco:{900 - n}" for n in range(sum(SIZES.values()))]
    assert Counter(records.images["split"]) == {"train": 10, "validation": 3, "test": 6}
    assert records.captions["caption_id"].tolist()[:6] == [*(f"coco:900#{n}" for n in range(5)), "coco:899#0"]
    assert records.captions["text"][7] == "Picture 899, said in way 2."
    assert Path(records.images["path"][0]) == root / "train2014" / "COCO_train2014_000000000900.jpg"
    assert not reasons(records)


def test_test_images_stay_in_order_on_the_disk(root, tmp_path):
    write_records(read_coco(write_coco(root), "header"), tmp_path)
    images = read_images(tmp_path / "images.csv")
    listed = [image["cocoid"] for image in entries() if image["split"] == "test"]
    assert images.loc[images["split"] == "test", "image_id"].tolist() == [f"coco:{cocoid}" for cocoid in listed]


def test_an_equal_caption_makes_no_group(root):
    images = [entry(n, word, ["A man on a wave."] * 5) for n, word in enumerate(["train", "train", "val", "test"])]
    records = read_coco(write_coco(root, images), "decode")
    assert records.images["group"].tolist() == [f"image:coco:{n}" for n in range(4)]
    assert "group_across_splits" not in reasons(records)


def test_captions_beyond_the_first_five_and_too_few(root):
    images = [entry(1, "train", 7), entry(2, "train", 5), entry(3, "val", 4), entry(4, "test", [])]
    images += [entry(5, "test", ["One.", "Two.", "  ", "Four.", "Five.", "Six."])]
    records = read_coco(write_coco(root, images), "decode")
    assert Counter(records.captions["image_id"]) == {"coco:1": 5, "coco:2": 5, "coco:3": 4, "coco:5": 4}
    assert reasons(records) == {
        "caption_left_out": 3,
        "image_of_few_captions": 2,
        "caption_empty": 2,
        "image_without_caption": 1,
    }
    left = records.report[records.report["reason"] == "caption_left_out"]
    assert left["caption_id"].tolist() == ["coco:1#5", "coco:1#6", "coco:5#5"]
    assert left["detail"].tolist()[0] == "7 captions, the first 5 are used"
    assert "| dropped | 1 | 5 | 0 |" in report_text(records)


def test_fewer_captions_on_demand(root):
    records = read_coco({**write_coco(root), "captions_per_image": 1}, "decode")
    assert len(records.captions) == len(records.images)
    assert reasons(records) == {"caption_left_out": 4 * len(records.images)}


def test_images_without_row_rows_without_image_and_a_broken_one(root):
    cfg = write_coco(root)
    (root / "train2014" / "COCO_train2014_000000000900.jpg").unlink()
    broken = root / "val2014" / "COCO_val2014_000000000899.jpg"
    Image.effect_noise((64, 64), 50).save(broken)
    broken.write_bytes(broken.read_bytes()[:700])
    for name in ("COCO_val2014_000000000001.jpg", "readme.txt"):
        (root / "val2014" / name).write_bytes(b"")
    records = read_coco(cfg, "decode")
    assert reasons(records) == {
        "image_missing": 1,
        "image_truncated": 1,
        "caption_of_dropped_image": 10,
        "image_without_row": 1,
    }
    assert "COCO_val2014_000000000001.jpg" in detail(records, "image_without_row")
    assert len(records.images) == sum(SIZES.values()) - 2


def test_a_split_that_names_images_coco_does_not_know(root):
    images = entries()
    cfg = write_coco(root, images)
    write_annotations(root, images[3:])
    with pytest.raises(
        InputError, match=r"1 of its 6 images in train2014 are unknown to .*train2014\.json, first \[900\]"
    ):
        read_coco(cfg, "decode")


def test_captions_of_images_in_no_split_are_counted(root):
    images = entries()
    cfg = write_coco(root, images)
    write_annotations(root, [*images, entry(5, "test"), entry(7, "val")])
    records = read_coco(cfg, "decode")
    assert detail(records, "split_without_image").startswith("2 images of ")
    assert detail(records, "split_without_image").endswith("are in no split, first [5, 7]")


def test_annotations_are_not_needed_but_must_be_such_where_they_are_there(root):
    cfg = write_coco(root)
    path = root / "annotations" / "captions_val2014.json"
    path.write_text(json.dumps({"annotations": []}))
    with pytest.raises(InputError, match=r"captions_val2014.json: not COCO's captions"):
        read_coco(cfg, "decode")
    path.write_text('{"images": [{"id":')
    with pytest.raises(InputError, match=r"captions_val2014.json: no JSON .* was it cut off"):
        read_coco(cfg, "decode")
    path.unlink()
    assert not reasons(read_coco(cfg, "decode"))


def test_other_numbers_than_published_are_said_of_coco_alone(root, monkeypatch):
    cfg = write_coco(root)
    report = read_coco(cfg, "decode").report
    assert report["reason"].tolist() == ["split_unlike_published"] * 3
    assert report["detail"].tolist()[0] == "train: 10 images, published are 113,287"
    assert report["detail"].tolist()[2].endswith("; blocks of 1,000 are other images than the published ones")
    assert read_coco({**cfg, "limit": 2}, "decode").report["reason"].unique().tolist() == ["over_limit"]
    write_split(root / "dataset_coco.json", entries(), dataset="flickr30k")
    assert read_coco(cfg, "decode").report.empty
    write_split(root / "dataset_coco.json", entries())
    monkeypatch.setattr(coco, "PUBLISHED", {"train": 10, "validation": 3, "test": 6})
    assert read_coco(cfg, "decode").report.empty


def test_the_first_images_of_each_split(root):
    records = read_coco({**write_coco(root), "limit": 2}, "decode")
    assert records.images["image_id"].tolist() == [f"coco:{n}" for n in (900, 899, 898, 897, 894, 893)]
    assert Counter(records.images["split"]) == {"train": 2, "validation": 2, "test": 2}


def test_rows_that_cannot_be_read(root):
    good = entries()
    bad: list[Any] = [
        "no object",
        {"filename": "x.jpg", "split": "train"},
        {**entry(1, "val"), "sentences": "A dog."},
        {**entry(2, "val"), "filename": "../x.jpg"},
        {**entry(3, "val"), "filename": "a/x.jpg"},
        {**entry(4, "val"), "filepath": "/etc"},
        {**entry(5, "val"), "cocoid": "five"},
        {**entry(6, "val"), "filename": 7},
        {**entry(900, "val")},
        {**entry(7, "val"), "filename": good[0]["filename"], "filepath": good[0]["filepath"]},
        entry(8, "val", ["Words.", 5, None, {"tokens": ["no", "raw"]}, "More."]),
    ]
    cfg = write_coco(root, good)
    write_images(root, bad[-1:])
    write_split(root / "dataset_coco.json", [*good, *bad])
    for path in (root / "annotations").iterdir():
        path.unlink()
    records = read_coco(cfg, "decode")
    assert reasons(records) == {
        "row_malformed": 8,
        "id_repeated": 1,
        "image_listed_twice": 1,
        "caption_not_text": 2,
        "caption_empty": 1,
    }
    assert len(records.images) == len(good) + 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("{", "no JSON"),
        ("[]", "not of Karpathy's format"),
        ('{"images": []}', "not of Karpathy's format"),
        ('{"images": {"1": 2}}', "not of Karpathy's format"),
        (json.dumps({"images": [{**entry(1, "val"), "split": "dev"}]}), r"1 images of an unknown split, first 'dev'"),
    ],
)
def test_files_of_another_format(root, text, words):
    root.mkdir()
    (root / "x.json").write_text(text)
    with pytest.raises(InputError, match=words):
        read_split(root / "x.json")


def test_a_folder_of_images_that_is_not_there(root):
    cfg = write_coco(root)
    (root / "train2014").rename(root / "elsewhere")
    with pytest.raises(InputError, match=r"train2014: no such folder; .* names 6 images in it\. .* set images"):
        read_coco(cfg, "decode")
    folders = {"val2014": str(root / "val2014")}
    with pytest.raises(InputError, match=r"names 6 images in train2014; add it to \['val2014'\]"):
        read_coco({**cfg, "images": folders}, "decode")
    folders["train2014"] = str(root / "elsewhere")
    assert not reasons(read_coco({**cfg, "images": folders}, "decode"))


def test_all_images_in_one_folder(root):
    cfg = write_coco(root)
    (root / "all").mkdir()
    for folder in ("train2014", "val2014"):
        for path in (root / folder).iterdir():
            path.rename(root / "all" / path.name)
    assert not reasons(read_coco({**cfg, "images": str(root / "all")}, "decode"))


@pytest.mark.parametrize("word", ["flickr8k", None])
def test_a_file_of_flickrs_without_folders_and_ids(root, word):
    images = [
        {key: value for key, value in image.items() if key not in ("filepath", "cocoid")} | {"filename": f"{n}_a.jpg"}
        for n, image in enumerate(entries({"train": 3, "val": 1, "test": 2}))
    ]
    write_images(root, images)
    split = write_split(root / "dataset_flickr8k.json", images, dataset=word)
    cfg = {"root": str(root), "split_file": str(split), "images": None, "captions_per_image": 5, "limit": None}
    records = read_coco(cfg, "decode")
    check_records(records)
    assert records.images["image_id"].tolist() == [f"{word or 'image'}:{n}_a" for n in range(6)]
    assert Counter(records.images["split"]) == {"train": 3, "validation": 1, "test": 2}
    assert records.report.empty
