"""The first images of each split, and a report that says what was left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from lile.data.limit import FirstImages
from lile.data.pairs import read_pairs
from lile.data.records import Records, check_records, report_text

SPLITS = ("train", "Training", "val", "train", "test", "train", "test")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Seven images of 16 x 16; the last two are no images, so that opening them would tell."""
    for number in range(len(SPLITS)):
        Image.new("RGB", (16, 16)).save(tmp_path / f"{number}.png")
    for number in (5, 6):
        (tmp_path / f"{number}.png").write_bytes(b"")
    lines = [f"{number}.png,Slide {number}.,{word}" for number, word in enumerate(SPLITS)]
    (tmp_path / "p.csv").write_text("\n".join(["image,caption,part", *lines, "1.png,Again.,train", "5.png,Again.,"]))
    return tmp_path / "p.csv"


def read(table: Path, limit: int | None, split: str | None = "part") -> Records:
    records = read_pairs({"file": str(table), "columns": {"split": split}, "limit": limit}, "decode")
    check_records(records)
    return records


def test_each_split_keeps_its_first_with_all_their_captions_and_opens_no_other(table):
    records = read(table, 2)
    assert records.images["image_id"].tolist() == ["0.png", "1.png", "2.png", "4.png"]
    assert records.captions["caption_id"].tolist() == ["0.png#0", "1.png#0", "2.png#0", "4.png#0", "1.png#1"]
    dropped = records.report[records.report["status"] == "dropped"]
    assert set(dropped["image_id"]) == {"6.png"}  # the second of test, and empty


def test_one_line_for_each_split_says_what_was_left_out(table):
    report = read(table, 1).report
    assert report["reason"].tolist() == ["over_limit", "over_limit"]
    assert report["detail"].tolist() == ["train: the first 1 of 4", "test: the first 1 of 2"]
    text = report_text(read(table, 1))
    assert "`limit` says. Images of train: the first 1 of 4; test: the first 1 of 2.\n" in text
    assert "| dropped | 0 | 0 | 0 |" in text
    assert "| over_limit | 2 | train: the first 1 of 4 |" in text


def test_without_a_split_column_the_limit_is_of_all(table):
    records = read(table, 3, split=None)
    assert records.images["image_id"].tolist() == ["0.png", "1.png", "2.png"]
    assert records.report["detail"].tolist() == ["no split: the first 3 of 7"]


@pytest.mark.parametrize("limit", [None, 100])
def test_no_limit_or_one_beyond_the_data_keeps_all(table, limit):
    records = read(table, limit)
    assert len(records.images) == 5
    assert "over_limit" not in set(records.report["reason"])
    assert "Only a part" not in report_text(records)


def test_a_million_images_left_out_are_one_line():
    first = FirstImages(5)
    assert sum(first.takes("train") for _ in range(1_000_000)) == 5
    assert [row.detail for row in first.report()] == ["train: the first 5 of 1000000"]
