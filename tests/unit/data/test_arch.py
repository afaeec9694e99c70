"""ARCH as published: small made-up sets for every oddity, and the real caption files under generated images."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from lile.data.arch import SETS, read_arch
from lile.data.folds import make_folds
from lile.data.records import check_records, read_captions, read_images, report_text, write_records
from lile.data.sentences import descriptions_of
from lile.errors import InputError
from lile.evaluation.ceiling import best_ranks
from lile.evaluation.relevance import relevance_of

BOOKS = {
    "0": {"figure_id": "00", "letter": "A", "caption": " A, gland. B, stroma.", "uuid": "b-a"},
    "1": {"figure_id": "00", "letter": "B", "caption": " A, gland. B, stroma.", "uuid": "b-b"},
    "2": {"figure_id": "01", "letter": "Single", "caption": "A, gland.\nB, stroma.", "uuid": "b-c"},
    "3": {"figure_id": "02", "letter": "Single", "caption": "HE staining.", "uuid": "b-d"},
    "4": {"figure_id": "03", "letter": "Single", "caption": "No image.", "uuid": "b-e"},
    "5": {"figure_id": "04", "letter": "Single", "caption": " ", "uuid": "b-f"},
}
PUBMED = {
    "0": {"caption": "HE staining.", "uuid": "p-a"},
    "1": {"caption": "Plasma cells.", "uuid": "p-b"},
    "2": {"caption": "Desmin.", "uuid": "p-c"},
}


def make_set(folder: Path, rows: object, names: list[str]) -> None:
    (folder / "images").mkdir(parents=True)
    (folder / "captions.json").write_text(json.dumps(rows), encoding="utf-8")
    for name in names:
        Image.new("RGB", (32, 32), "pink").save(folder / "images" / name)


@pytest.fixture
def root(tmp_path) -> Path:
    make_set(tmp_path / "books_set", BOOKS, ["b-a.png", "b-b.png", "b-c.png", "b-d.png", "b-f.png", "stray.png"])
    make_set(tmp_path / "pubmed_set", PUBMED, ["p-a.jpg", "p-b.png", "p-c.png", "p-c.JPG", "notes.txt.bmp"])
    return tmp_path


def test_what_is_kept_grouped_and_reported(root):
    records = read_arch(root, "decode")
    check_records(records)
    groups = dict(zip(records.images["image_id"], records.images["group"], strict=True))
    assert groups == {
        "books:b-a": "books:figure-00",  # one figure
        "books:b-b": "books:figure-00",
        "books:b-c": "books:figure-00",  # another figure with the same words
        "books:b-d": "books:figure-02",
        "pubmed:p-a": "books:figure-02",  # an article with a book's caption
        "pubmed:p-b": "image:pubmed:p-b",
        "pubmed:p-c": "image:pubmed:p-c",
    }
    assert [Path(path).name for path in records.images["path"]][4:] == ["p-a.jpg", "p-b.png", "p-c.png"]
    assert records.captions.loc[0].tolist() == ["books:b-a#0", "books:b-a", "books:figure-00", "A, gland. B, stroma."]
    assert sorted(zip(records.report["row"], records.report["reason"], strict=True)) == [
        ("", "image_without_row"),
        ("books_set:4", "caption_of_dropped_image"),
        ("books_set:4", "image_missing"),
        ("books_set:5", "caption_empty"),
        ("books_set:5", "image_without_caption"),
    ]


def test_one_nesting_level_is_tolerated(root, tmp_path):
    outer = tmp_path / "outer"
    outer.mkdir()
    (outer / "ARCH").mkdir()
    (root / "books_set").rename(outer / "ARCH" / "books_set")
    (outer / "pubmed_set").mkdir()
    (root / "pubmed_set").rename(outer / "pubmed_set" / "pubmed_set")
    assert len(read_arch(outer, "header").images) == 7


@pytest.mark.parametrize("name", SETS)
def test_missing_set_or_images_say_what_to_fetch(root, name):
    (root / name / "images").rename(root / "elsewhere")
    with pytest.raises(InputError, match=rf"images: no such folder.*{name}\.zip.*warwick.*{root}"):
        read_arch(root, "header")
    (root / name / "captions.json").unlink()
    with pytest.raises(InputError, match=rf"no captions.json.*{name}\.zip"):
        read_arch(root, "header")
    with pytest.raises(InputError, match=r"no such folder.*books_set\.zip"):
        read_arch(root / "none", "header")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ('{"0": {"uuid"', "no JSON"),
        ("[]", "object of rows"),
        ("3", "object of rows"),
        ("\xff\xfe", "UTF-16"),
    ],
)
def test_broken_captions_file(root, text, said):
    (root / "books_set" / "captions.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=said):
        read_arch(root, "header")


def test_broken_rows_are_listed(root):
    rows = BOOKS | {"6": {"uuid": "b-g"}, "7": "text", "8": {"uuid": "../../etc/x", "caption": "Out."}}
    rows["9"] = BOOKS["0"]  # the same row twice: the same image with the same caption twice
    (root / "books_set" / "captions.json").write_text(json.dumps(rows))
    records = read_arch(root, "header")
    dropped = records.report[records.report["reason"] == "row_malformed"]
    assert dropped["row"].tolist() == ["books_set:6", "books_set:7", "books_set:8"]
    assert len(records.images) == 7
    assert "caption_repeated" in set(records.report["reason"])


def test_wrong_images_folder_is_refused_with_examples(root):
    for path in (root / "books_set" / "images").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    for path in (root / "pubmed_set" / "images").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"0 of 9 images.*image_missing.*First: row books_set:0"):
        read_arch(root, "decode")


def test_script_writes_the_four_tables(root, tmp_path, project_root):
    script = project_root / "workflow" / "scripts" / "read_arch.py"
    out = tmp_path / "results" / "arch" / "data"
    config = json.dumps({"name": "arch", "kind": "arch", "root": str(root), "verify": "decode"})
    command = [
        sys.executable,
        script,
        "--config-json",
        config,
        "--out-dir",
        out,
        "--threads",
        "2",
        "--log",
        out / "log",
    ]
    subprocess.run(command, check=True, capture_output=True)
    assert len(read_images(out / "images.csv")) == len(read_captions(out / "captions.csv")) == 7
    assert "image_missing" in (out / "report.md").read_text()
    command[3] = json.dumps({"name": "arch", "root": str(tmp_path / "none"), "verify": "decode"})
    failed = subprocess.run(command, check=False, capture_output=True, text=True)
    assert failed.returncode == 1
    assert "books_set.zip" in failed.stderr
    assert "Traceback" not in failed.stderr


def published_rows(captions: Path) -> dict[str, list[dict[str, str]]]:
    return {name: list(json.loads((captions / name / "captions.json").read_text()).values()) for name in SETS}


def without_image(books: list[dict[str, str]]) -> set[str]:
    """35 book rows that fit what the release's own notes say of the missing ones, by figure and by caption.

    By figure: 32 figures of one image and one of three are gone. By caption: 29 captions of one image and two of three.
    Three blank captions, each a figure by itself, are the only caption of three that is three figures of one.
    """
    figures = Counter(row["figure_id"] for row in books)
    captions = Counter(row["caption"] for row in books)
    blank = [row["uuid"] for row in books if not row["caption"]]
    triple = next(r["figure_id"] for r in books if figures[r["figure_id"]] == 3 == captions[r["caption"]])
    single = [
        r["uuid"] for r in books if figures[r["figure_id"]] == 1 == captions[r["caption"]] and r["caption"].strip()
    ]
    return {*blank, *(row["uuid"] for row in books if row["figure_id"] == triple), *single[:29]}


@pytest.fixture(scope="module")
def real_root(test_data, tmp_path_factory) -> Path:
    """The real caption files, and hard links to one small image under each real name."""
    captions, root = test_data / "arch_captions", tmp_path_factory.mktemp("arch")
    rows = published_rows(captions)
    gone = without_image(rows["books_set"])
    for suffix in (".png", ".jpg"):
        Image.new("RGB", (32, 32), "pink").save(root / f"one{suffix}")
    for name, listed in rows.items():
        (root / name / "images").mkdir(parents=True)
        (root / name / "captions.json").write_bytes((captions / name / "captions.json").read_bytes())
        for number, row in enumerate(listed):
            suffix = ".png" if name == "books_set" or number < 37 else ".jpg"
            if row["uuid"] not in gone:
                os.link(root / f"one{suffix}", root / name / "images" / f"{row['uuid']}{suffix}")
    return root


@pytest.mark.data
def test_real_captions_give_the_published_counts(real_root, tmp_path):
    assert len(list((real_root / "books_set" / "images").iterdir())) == 4270
    assert len(list((real_root / "pubmed_set" / "images").iterdir())) == 3309
    records = read_arch(real_root, "decode", workers=2)
    write_records(records, tmp_path)
    sources = Counter(records.images["image_id"].str.partition(":")[0])
    # The release's fourth blank caption is one space and has an image: 7,579 images, 7,578 of which can be described.
    assert sources == {"books": 4269, "pubmed": 3309}
    assert len(records.captions) == 7578
    assert Counter(records.report["reason"]) == {
        "image_missing": 35,
        "caption_empty": 4,
        "caption_of_dropped_image": 32,
        "image_without_caption": 1,
    }
    assert "| kept | 7578 | 7578 | |" in report_text(records)
    assert "| dropped | 36 | 36 | 0 |" in report_text(records)


@pytest.mark.data
def test_real_captions_shared_and_grouped(real_root):
    records = read_arch(real_root, "header")
    texts = records.captions["text"].value_counts()
    shared = texts[texts > 1]
    assert (len(shared), shared.sum()) == (679, 1763)
    rows = {f"books:{row['uuid']}": row["figure_id"] for row in published_rows(real_root)["books_set"]}
    table = records.captions.assign(figure=records.captions["image_id"].map(rows))
    figures = table.dropna().groupby("text")["figure"].nunique()
    assert Counter(figures) == {1: len(figures) - 77, 2: 76, 3: 1}
    assert (table.groupby("text")["group"].nunique() == 1).all()
    assert (table.dropna().groupby("figure")["group"].nunique() == 1).all()
    # Every figure has one caption, so the groups are just the captions.
    assert records.images["group"].nunique() == len(texts) == 6494


@pytest.mark.data
@pytest.mark.parametrize(("group_by", "text", "image"), [("group", 76.7, 73.8), ("image", 92.3, 91.1)])
def test_real_captions_bound_the_recalls_as_the_pages_say(real_root, group_by, text, image):
    records = read_arch(real_root, "header")
    descriptions = descriptions_of(records.captions, "sentences")
    folds = make_folds(records.images, by="cross_validation", count=5, group_by=group_by, validation=0.1, seed=0)
    group_of = records.images.set_index("image_id")["group"]
    recalls = {"i2t": [], "t2i": []}
    for fold in range(5):
        ids = folds.loc[folds[f"fold_{fold}"] == "test", "image_id"].tolist()
        theirs = descriptions[descriptions["image_id"].isin(set(ids))]
        best = best_ranks(relevance_of(ids, theirs["text_id"].unique().tolist(), group_of[ids].tolist(), theirs))
        for way, ranks in best["own"].items():
            recalls[way].append(100 * (ranks < 1).mean())
    assert round(sum(recalls["i2t"]) / 5, 1) == text
    assert round(sum(recalls["t2i"]) / 5, 1) == image
    row = f"| {group_by}, `own` | {text} |"
    assert row in (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8")
