"""A person's own pairs: every file format, every kind of bad row, and two real datasets."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from lile.config import load
from lile.data.pairs import columns_of, read_pairs
from lile.data.records import Records, check_records, read_images
from lile.errors import InputError

NAMES = ("a.png", "b.png", "c.png", "d.png", "e.png")


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in NAMES:
        Image.new("RGB", (16, 16), "pink").save(folder / name)
    return folder


def read(root: Path, content: str | bytes, name: str = "pairs.csv", **columns: str) -> Records:
    path = root.parent / name
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    records = read_pairs({"file": str(path), "root": str(root), "columns": columns}, "decode")
    check_records(records)
    return records


def reasons(records: Records) -> list[tuple[str, str]]:
    return list(zip(records.report["row"], records.report["reason"], strict=True))


GOOD = [{"image": f"{letter}.png", "caption": f"Gland {letter}."} for letter in "abcde"]


def as_csv(rows: list[dict[str, str]], separator: str = ",") -> str:
    lines = [separator.join(rows[0])]
    lines += [separator.join(f'"{str(cell).replace(chr(34), chr(34) * 2)}"' for cell in row.values()) for row in rows]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.csv", as_csv(GOOD)),
        ("p.CSV", "\ufeff" + as_csv(GOOD).replace("\n", "\r\n")),
        ("p.tsv", as_csv(GOOD, "\t")),
        ("p.jsonl", "\n\n".join(json.dumps(row) for row in GOOD)),
        ("p.jsonl", "\ufeff" + "\r\n".join(json.dumps(row) for row in GOOD)),
        ("p.json", json.dumps(GOOD)),
    ],
)
def test_every_format_gives_the_same_records(root, name, content):
    records = read(root, content, name)
    assert records.images["image_id"].tolist() == list(NAMES)
    assert records.images["group"].tolist() == [f"image:{name}" for name in NAMES]
    assert records.images["path"].tolist() == [str(root / name) for name in NAMES]
    assert records.captions["caption_id"].tolist() == [f"{name}#0" for name in NAMES]
    assert records.captions["text"].tolist() == [row["caption"] for row in GOOD]
    assert records.report.empty


def test_root_defaults_to_the_files_folder_and_columns_are_mapped(root):
    (root / "p.csv").write_text("file,words,part,bag,key\na.png,Gland,Dev,7,one\nb.png,Stroma,TRAIN,7,two\n")
    names = {"image": "file", "caption": "words", "split": "part", "group": "bag", "id": "key"}
    images = read_pairs({"file": str(root / "p.csv"), "columns": names}, "header").images
    assert images["image_id"].tolist() == ["one", "two"]
    assert images["split"].tolist() == ["validation", "train"]
    assert images["group"].tolist() == ["group:7", "group:7"]


def test_several_captions_of_one_image(root):
    rows = [{"image": "a.png", "caption": ["One.", "Two.", ""]}, {"image": "./a.png", "caption": "Three."}, *GOOD[1:]]
    records = read(root, json.dumps(rows), "p.json")
    assert len(records.images) == 5
    assert records.captions["caption_id"].tolist()[:3] == ["a.png#0", "a.png#1", "a.png#3"]
    assert reasons(records) == [("1", "caption_empty")]


def test_same_caption_same_group_also_through_a_third_image(root):
    words = {"a.png": ["x", "y"], "b.png": ["y", "z"], "c.png": [" z\n"], "d.png": ["Z"], "e.png": ["v"]}
    records = read(root, json.dumps([{"image": k, "caption": v} for k, v in words.items()]), "p.json")
    assert records.images["group"].tolist() == ["image:a.png"] * 3 + ["image:d.png", "image:e.png"]


def test_group_column_decides(root):
    rows = [dict(row, caption="same", bag=bag) for row, bag in zip(GOOD, ("1", "2", " 2 ", "", None), strict=True)]
    rows.append({"image": "a.png", "caption": "other", "bag": 3})
    records = read(root, json.dumps(rows), "p.json", group="bag")
    expected = ["group:1", "group:2", "group:2", "image:d.png", "image:e.png"]
    assert records.images["group"].tolist() == expected


def test_group_may_be_the_caption_column_however_long(root):
    rows = [dict(row, caption="gland " * 100 + end) for row, end in zip(GOOD, "xxyzz", strict=True)]
    groups = read(root, as_csv(rows), group="caption").images["group"].tolist()
    assert (groups[0], groups[3]) == (groups[1], groups[4])
    assert len(set(groups)) == 3
    assert max(map(len, groups)) < 100


def test_quotes_commas_and_line_breaks_in_cells(root):
    rows = [{"image": "a.png", "caption": 'The "gland",\nthen stroma.'}, *GOOD[1:]]
    assert read(root, as_csv(rows)).captions["text"][0] == 'The "gland", then stroma.'


def test_right_to_left_and_invalid_bytes(root):
    lines = [b"image,caption", "a.png,غدة".encode(), b"b.png,caf\xe9 noir", b"c.png,nuc\x00lei", b"d.png,..."]
    records = read(root, b"\n".join(lines))
    assert records.captions["text"].tolist() == ["غدة", "caf\ufffd noir", "nuclei"]
    assert reasons(records) == [
        ("5", "image_without_caption"),
        ("3", "caption_invalid_utf8"),
        ("4", "caption_control_characters"),
        ("5", "caption_only_punctuation"),
    ]


def test_bad_captions_are_listed(root):
    words = ["fine", "cell " * 10_000, None, 7, {"a": 1}]
    rows = [{"image": "a.png", "caption": word} for word in words]
    records = read(root, json.dumps(rows), "p.json")
    assert [reason for _, reason in reasons(records)] == [
        "caption_too_long",
        "caption_empty",
        "caption_not_text",
        "caption_not_text",
    ]


def test_bad_images_are_listed_and_the_rest_stays(root):
    (root / "empty.png").touch()
    (root / "cut.png").write_bytes((root / "a.png").read_bytes()[:60])
    Image.new("RGB", (1, 1)).save(root / "dot.png")
    bad = [{"image": name, "caption": "Words."} for name in ("empty.png", "cut.png", "dot.png", "none.png")]
    records = read(root, as_csv([*bad, *GOOD]))
    of_images = records.report[records.report["caption_id"] == ""]
    assert of_images["reason"].tolist() == ["image_empty", "image_truncated", "image_too_small", "image_missing"]
    assert of_images["row"].tolist() == ["2", "3", "4", "5"]
    assert str(root / "none.png") in of_images["detail"].iloc[3]
    assert len(records.images) == 5


def test_paths_outside_the_root_and_unfit_paths(root, tmp_path):
    outside = tmp_path / "secret.png"
    Image.new("RGB", (16, 16)).save(outside)
    (root / "link.png").symlink_to(outside)
    (root / "folder").symlink_to(tmp_path)
    (root / "inner.png").symlink_to(root / "a.png")
    bad = ["../secret.png", str(outside), "link.png", "folder/secret.png", "x/../../secret.png", "..", "."]
    bad += ["", "a\0.png", "\ud800.png", "https://example.org/a.png", 7]
    more = [{"image": f"{n}.png", "caption": f"Gland {n}."} for n in range(8)]
    for row in more:
        Image.new("RGB", (16, 16)).save(root / row["image"])
    rows = [{"image": path, "caption": "Out."} for path in bad]
    rows += [{"image": str(root / "b.png"), "caption": "In."}, {"image": "inner.png", "caption": "In too."}]
    records = read(root, json.dumps([*rows, *more, *GOOD]), "p.json")
    found = [reason for _, reason in reasons(records)]
    unfit = ["path_empty", "path_unprintable", "path_unprintable", "path_is_address", "path_not_text"]
    assert found[:12] == ["path_outside_root"] * 7 + unfit
    assert records.images["image_id"].tolist()[:2] == ["b.png", "inner.png"]
    assert len(records.images) == 13  # inner.png is a.png under its first name


def test_root_may_itself_be_a_link(root, tmp_path):
    (tmp_path / "alias").symlink_to(root)
    records = read(tmp_path / "alias", as_csv(GOOD))
    assert records.images["image_id"].tolist() == list(NAMES)


def test_image_named_twice_stays_one_image(root):
    text = "key,image,caption\n1,a.png,One.\n2,./a.png,Two.\n3,b.png,Three.\n3,b.png,Four.\n"
    records = read(root, text, id="key")
    assert records.images["image_id"].tolist() == ["1", "3"]
    assert records.captions["image_id"].tolist() == ["1", "1", "3", "3"]
    assert reasons(records) == [("3", "image_named_twice")]


def test_id_given_to_two_files_drops_the_second(root):
    records = read(root, "key,image,caption\n1,a.png,One.\n1,b.png,Two.\n2,c.png,Three.\n", id="key")
    assert records.images["path"].tolist() == [str(root / "a.png"), str(root / "c.png")]
    assert reasons(records) == [("3", "id_repeated")]


def test_splits_conflict_and_leak(root):
    lines = ["a.png,x,train", "a.png,y,test", "b.png,x,test", "c.png,z,"]
    records = read(root, "\n".join(["image,caption,part", *lines]), split="part")
    assert records.images["split"].tolist() == ["train", "test", ""]
    assert reasons(records) == [("3", "split_conflict"), ("", "group_across_splits")]
    assert records.report["detail"].iloc[1] == "image:a.png: train 1, test 1"


def test_captions_that_say_nothing_are_dropped_by_their_text(root):
    words = {
        "a.png": ["Fill in."],
        "b.png": [" Fill\n in. ", "Gland."],
        "c.png": ["fill in."],
        "d.png": ["Fill in. Now."],
    }
    path = root.parent / "p.json"
    path.write_text(json.dumps([{"image": name, "caption": texts} for name, texts in words.items()]))
    config = {"file": str(path), "root": str(root), "drop_captions": ["Fill  in.", " "]}
    records = read_pairs(config, "header")
    check_records(records)
    assert records.captions["caption_id"].tolist() == ["b.png#1", "c.png#0", "d.png#0"]
    assert records.images["group"].tolist() == ["image:b.png", "image:c.png", "image:d.png"]  # it ties nothing together
    assert reasons(records) == [("1", "image_without_caption"), ("1", "caption_excluded"), ("2", "caption_excluded")]
    assert "'Fill in.'" in records.report["detail"].tolist()


def test_unknown_split_names_its_row(root):
    with pytest.raises(InputError, match=r"row 3: split 'held-out' is unknown; use train"):
        read(root, "image,caption,part\na.png,x,train\nb.png,y,held-out\n", split="part")


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        ("picture,text\na.png,x\n", "p.csv", r"missing column\(s\) \['image: image', 'caption: caption'\]; found"),
        (json.dumps([{"image": "a.png"}]), "p.json", r"missing column\(s\) \['caption: caption'\]"),
        ("image;caption\na.png;x\n", "p.csv", "separated by ';'"),
        ("image,image,caption\na,b,c\n", "p.csv", "stands twice"),
        ("\n", "p.csv", "first line must name"),
        ("", "p.csv", "empty"),
        ("image,caption\n", "p.csv", "0 of 0"),
        ("\ufeffimage,caption\na.png,x\n".encode("utf-16-le"), "p.csv", "UTF-16"),
        ('[{"image": "a.png", ', "p.json", "no JSON"),
        ('{"image": "a.png"}', "p.json", "list of objects"),
        ("a", "p.xlsx", "must be one of .csv"),
        (
            as_csv([{"image": "none.png", "caption": "x"}, *GOOD[:1]] * 3 + [{"image": "no", "caption": "x"}]),
            "p.csv",
            "1 of 3",
        ),
        ("no\nno\n", "p.jsonl", "0 of 2.*row_malformed"),
    ],
)
def test_files_that_cannot_be_used(root, content, name, said):
    with pytest.raises(InputError, match=said):
        read(root, content, name)


def test_missing_file_root_or_role(root):
    with pytest.raises(InputError, match="no such file"):
        read_pairs({"file": str(root / "none.csv")}, "header")
    with pytest.raises(InputError, match="root must be"):
        read_pairs({"file": "x.csv", "root": str(root / "none")}, "header")
    with pytest.raises(InputError, match="imagee"):
        columns_of({"columns": {"imagee": "x"}})
    with pytest.raises(InputError, match="image must name"):
        columns_of({"columns": {"image": None}})


def test_malformed_rows_are_listed_with_their_lines(root):
    lines = [
        "image,caption",
        "a.png,Gland, with stroma",
        "b.png",
        'c.png,"a" b',
        "d.png,fine,,",
        "e.png,fine",
        "a.png,ok",
    ]
    records = read(root, "\n".join(lines))
    assert reasons(records) == [("2", "row_malformed"), ("3", "row_malformed"), ("4", "row_malformed")]
    assert records.images["image_id"].tolist() == ["d.png", "e.png", "a.png"]


def test_quote_that_never_closes_loses_no_row_in_silence(root):
    lines = ["image,caption", *(f"{name},fine" for name in NAMES[:4]), 'e.png,"open', "a.png,swallowed"]
    records = read(root, "\n".join(lines))
    assert reasons(records) == [("7", "row_malformed")]
    assert "lines 6 to 7" in records.report["detail"][0]


def test_many_rows_take_little_time_each(root):
    """Fifty thousand rows of few images: no step may look at all rows for each row."""
    text = "image,caption\n" + "".join(f"{NAMES[n % 5]},Caption {n}.\n" for n in range(50_000))
    assert len(read(root, text).captions) == 50_000


def test_script_reads_the_config_and_reports_errors_in_a_line(root, tmp_path, project_root):
    (root / "p.csv").write_text(as_csv(GOOD))
    out = tmp_path / "out"
    config = {"name": "mine", "kind": "pairs", "file": str(root / "p.csv"), "root": None, "verify": "header"}
    script = project_root / "workflow" / "scripts" / "read_pairs.py"
    command = [sys.executable, script, "--out-dir", out, "--config-json", json.dumps(config)]
    subprocess.run(command, check=True, capture_output=True)
    assert sorted(os.listdir(out)) == ["captions.csv", "images.csv", "report.csv", "report.md"]
    assert len(read_images(out / "images.csv")) == 5
    command[-1] = json.dumps(config | {"columns": {"caption": "words"}})
    failed = subprocess.run(command, check=False, capture_output=True, text=True)
    assert failed.returncode == 1
    assert "missing column(s) ['caption: words']" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.data
def test_medpix(test_data):
    columns = {"image": "image", "caption": "caption", "group": "caption", "split": "split"}
    records = read_pairs({"file": str(test_data / "medpix" / "captions.json"), "columns": columns}, "decode", 2)
    check_records(records)
    assert (len(records.images), len(records.captions)) == (2050, 2050)
    assert Counter(records.images["split"]) == {"train": 1653, "validation": 197, "test": 200}
    sizes = Counter(Counter(records.images["group"]).values())
    assert (sum(sizes.values()), max(sizes)) == (1352, 21)
    # A template's placeholder stands as caption in both splits: the one leak of the file, and the report tells it.
    assert records.report["reason"].tolist() == ["group_across_splits"]
    assert "train 15, validation 6" in records.report["detail"][0]


@pytest.mark.data
def test_the_medpix_trial_leaves_out_the_placeholder(test_data, project_root, monkeypatch):
    monkeypatch.setenv("LILE_TEST_DATA", str(test_data))
    config = load([project_root / "config" / "trial" / f"{name}.yaml" for name in ("rows", "medpix")])
    records = read_pairs(config["datasets"]["medpix"], "header", 2)
    check_records(records)
    assert (len(records.images), len(records.captions)) == (2029, 2029)
    assert Counter(records.images["split"]) == {"": 2029}, "the trial makes folds of its own"
    assert Counter(records.report["reason"]) == {"caption_excluded": 21, "image_without_caption": 21}


@pytest.mark.data
def test_flickr8k(test_data):
    folder = test_data / "flickr8k"
    columns = {"image": "filename", "caption": "captions", "split": "split"}
    config = {"file": str(folder / "captions.json"), "root": str(folder / "images"), "columns": columns}
    records = read_pairs(config, "header", 2)
    check_records(records)
    assert (len(records.images), len(records.captions)) == (6000, 30_000)
    assert Counter(records.images["split"]) == {"train": 4000, "validation": 1000, "test": 1000}
    assert set(Counter(records.captions["image_id"]).values()) == {5}
    assert Counter(records.report["reason"]) == {"group_across_splits": 48, "caption_repeated": 9}


def test_csv_written_by_pythons_own_writer(root):
    path = root / "w.csv"
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerows([("image", "caption"), ("a.png", 'x, "y"\n\nz'), ("b.png", "plain")])
    assert read_pairs({"file": str(path)}, "header").captions["text"].tolist() == ['x, "y" z', "plain"]
