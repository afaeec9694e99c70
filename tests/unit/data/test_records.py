"""The tables between the stages: what is written comes back, and what breaks the contract is refused."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from lile.data.records import (
    CAPTION_COLUMNS,
    IMAGE_COLUMNS,
    REPORT_COLUMNS,
    Records,
    check_records,
    read_captions,
    read_descriptions,
    read_folds,
    read_images,
    report_text,
    write_records,
)
from lile.errors import InputError


@pytest.fixture
def records() -> Records:
    images = [("a", "x/a.png", "g", "train"), ("b", "x/b.png", "g", "test"), ("NA", "x/n.png", "image:NA", "")]
    captions = [("a#0", "a", "g", 'A "gland", x400'), ("b#0", "b", "g", "null"), ("NA#0", "NA", "image:NA", "غدة")]
    report = [
        ("7", "c", "", "dropped", "image_empty", "c.png: 0 bytes"),
        ("7", "c", "c#0", "dropped", "caption_of_dropped_image", ""),
        ("8", "", "", "dropped", "row_malformed", "a | b"),
        ("9", "a", "a#0", "warned", "caption_invalid_utf8", ""),
    ]
    tables = zip((images, captions, report), (IMAGE_COLUMNS, CAPTION_COLUMNS, REPORT_COLUMNS), strict=True)
    return Records(*(pd.DataFrame(rows, columns=list(columns), dtype=str) for rows, columns in tables))


def test_what_is_written_comes_back(tmp_path, records):
    write_records(records, tmp_path)
    pd.testing.assert_frame_equal(read_images(tmp_path / "images.csv"), records.images, check_dtype=False)
    pd.testing.assert_frame_equal(read_captions(tmp_path / "captions.csv"), records.captions, check_dtype=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["captions.csv", "images.csv", "report.csv", "report.md"]
    assert read_images(tmp_path / "images.csv")["image_id"].tolist() == ["a", "b", "NA"]


def test_report_counts_images_captions_and_rows(records):
    text = report_text(records)
    assert "| kept | 3 | 3 | |" in text
    assert "| dropped | 1 | 1 | 1 |" in text
    assert "Splits: none 1, train 1, test 1." in text
    assert "| row_malformed | 1 | row 8:  a / b |" in text


def broken(records: Records, table: str, row: int, column: str, value: str) -> Records:
    frame = getattr(records, table).copy()
    frame.loc[row, column] = value
    return dataclasses.replace(records, **{table: frame})


@pytest.mark.parametrize(
    ("table", "column", "value", "said"),
    [
        ("images", "image_id", "a", "stands twice"),
        ("images", "image_id", "z", "without their image"),
        ("images", "path", " ", "empty path"),
        ("images", "group", "other", "another group"),
        ("images", "split", "dev", "split must be one of"),
        ("captions", "caption_id", "a#0", "stands twice"),
        ("captions", "image_id", "a", "without a caption"),
        ("captions", "text", "", "empty text"),
        ("captions", "text", "two\nlines", "more than one line"),
        ("report", "status", "lost", "status must be one of"),
    ],
)
def test_broken_records_are_refused_and_not_written(tmp_path, records, table, column, value, said):
    with pytest.raises(InputError, match=said):
        write_records(broken(records, table, 1, column, value), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_images_left(records):
    with pytest.raises(InputError, match="no rows"):
        check_records(dataclasses.replace(records, images=records.images.iloc[:0]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image_id,path,group\na,b,c\n", "missing column.*split.*found"),
        ("image_id,path,group,split\n", "no rows"),
        ("", "no readable CSV"),
        ("image_id,path,group,split\na,b,c,train\na,b,c,train\n", "stands twice"),
        ("image_id,path,group,split\na,b,c,dev\n", "split must be one of"),
        ('image_id,path,group,split\na,"b,c,dev\n', "no readable CSV"),
    ],
)
def test_unfit_images_table(tmp_path, text, said):
    path = tmp_path / "images.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_images(path)


def test_missing_or_latin_1_table(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_captions(tmp_path / "captions.csv")
    (tmp_path / "captions.csv").write_bytes("caption_id,image_id,group,text\na,b,c,caf\xe9\n".encode("latin-1"))
    with pytest.raises(InputError, match="no readable CSV"):
        read_captions(tmp_path / "captions.csv")


def test_descriptions_and_folds(tmp_path):
    (tmp_path / "d.csv").write_text("description_id,caption_id,image_id,group,text,text_id\na#0#0,a#0,a,g,NA,00ff\n")
    assert read_descriptions(tmp_path / "d.csv").loc[0, ["text", "text_id"]].tolist() == ["NA", "00ff"]
    (tmp_path / "f.csv").write_text("image_id,fold_0,fold_1\na,train,test\nb,validation,train\n")
    assert read_folds(tmp_path / "f.csv").shape == (2, 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image_id\na\n", "missing column"),
        ("image_id,fold_0,fold_2\na,train,test\n", "fold_1"),
        ("image_id,fold_0\na,dev\n", "fold_0 must be one of"),
        ("image_id,fold_0\na,\n", "fold_0 must be one of"),
    ],
)
def test_unfit_folds_table(tmp_path, text, said):
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_folds(tmp_path / "f.csv")
