"""Reading labelled pictures: what is taken, what is left out and said, and what ends with a word on how to mend it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lile.data.nct_crc import CLASSES
from lile.errors import InputError
from lile.pretraining.census import Census, take_census
from lile.pretraining.config import ColumnsConfig, DataConfig
from lile.pretraining.sources import list_pictures


def folder(root: Path, **keys: Any) -> DataConfig:
    return DataConfig(kind="folder", root=str(root), **keys)


def census_of(data: DataConfig) -> Census:
    return take_census(list_pictures(data), data)


def reasons(census: Census) -> dict[str, str]:
    return {line.name: line.reason for line in census.report}


def picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (12, 12, 3))
    Image.fromarray(noise.astype(np.uint8)).save(path)


def table(place: Path, rows: list[dict[str, str]], **keys: Any) -> DataConfig:
    pd.DataFrame(rows).to_csv(place / "list.csv", index=False)
    return DataConfig(kind="csv", file=str(place / "list.csv"), min_images=3, **keys)


def rows_of(patches: Path) -> list[dict[str, str]]:
    paths = sorted(patches.rglob("*.png"))
    return [
        {"image": str(path.relative_to(patches)), "label": path.parent.name, "slide": path.name[:2]} for path in paths
    ]


def test_folders_are_classes_and_the_pattern_finds_slides(patches):
    census = census_of(folder(patches, group_pattern=r"/(s\d)_"))
    assert census.classes == ["gland", "nerve", "stroma"]
    assert len(census.items) == 60
    assert census.items[0].name == "gland/s0_0.png"
    assert census.items[0].group == "s0"
    assert census.labels == [0] * 20 + [1] * 20 + [2] * 20
    assert census.report == []


def test_a_class_may_have_folders_of_its_own(patches):
    picture(patches / "gland" / "deep" / "er" / "x.PNG")
    assert "gland/deep/er/x.PNG" in [item.name for item in census_of(folder(patches)).items]


def test_what_cannot_be_used_is_dropped_and_said(patches):
    (patches / "gland" / "s0_0.png").write_bytes(b"no picture")
    whole = (patches / "gland" / "s0_1.png").read_bytes()
    (patches / "gland" / "s0_1.png").write_bytes(whole[: len(whole) // 2])
    (patches / "gland" / "notes.txt").write_text("x")
    (patches / "README.md").write_text("x")
    (patches / ".DS_Store").write_text("x")
    shutil.copy(patches / "nerve" / "s0_0.png", patches / "stroma" / "copy.png")
    census = census_of(folder(patches))
    found = reasons(census)
    assert found.pop("gland/s0_0.png") == "image_unreadable"
    assert found.pop("gland/s0_1.png").startswith("image_")
    assert found == {
        "gland/notes.txt": "not_a_picture",
        "README.md": "outside_of_classes",
        "nerve/s0_0.png": "label_conflict",
        "stroma/copy.png": "label_conflict",
    }
    assert len(census.items) == 60 - 3


def test_the_digest_is_of_names_labels_groups_and_bytes_and_not_of_the_place(patches, tmp_path):
    before = census_of(folder(patches)).digest
    shutil.copytree(patches, tmp_path / "elsewhere")
    assert census_of(folder(tmp_path / "elsewhere")).digest == before
    assert census_of(folder(patches, group_pattern="(s.)_")).digest != before
    picture(patches / "gland" / "s0_0.png", seed=9)
    assert census_of(folder(patches)).digest != before


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: shutil.rmtree(root), "no such folder"),
        (lambda root: (root / "empty").mkdir(), "no picture in class empty; fill or remove"),
        (lambda root: [shutil.rmtree(root / name) for name in ("gland", "nerve")], "one class alone"),
        (lambda root: [shutil.rmtree(root / name) for name in ("gland", "nerve", "stroma")], "no labelled picture"),
        (lambda root: picture(root / "rare" / "x.png"), "fewer than 10 usable pictures: rare 1"),
        (
            lambda root: [path.write_bytes(b"x") for path in sorted(root.rglob("*.png"))[:31]],
            r"only 29 of 60 pictures can be used \(image_unreadable 31; first gland/s0_0.png",
        ),
    ],
    ids=["no folder", "empty class", "one class", "nothing", "rare class", "mostly broken"],
)
def test_folders_that_cannot_be_used(patches, spoil, words):
    spoil(patches)
    with pytest.raises(InputError, match=words):
        census_of(folder(patches))


def test_a_pattern_that_finds_no_slide_leaves_the_picture_out(patches):
    picture(patches / "gland" / "nameless.png")
    census = census_of(folder(patches, group_pattern=r"/(s\d)_"))
    assert reasons(census) == {"gland/nameless.png": "group_not_found"}


def test_a_pattern_that_finds_few_slides_is_the_wrong_one(patches):
    with pytest.raises(InputError, match=r"12 of 60 pictures can be used \(group_not_found 48; first gland/s"):
        census_of(folder(patches, group_pattern="(s0)_"))
    with pytest.raises(
        InputError, match=r"no labelled picture found; 60 .*first gland/s0_0.png: group_not_found, data."
    ):
        census_of(folder(patches, group_pattern="(slide)"))


def test_a_table(patches):
    rows = rows_of(patches)
    data = table(patches, rows, columns=ColumnsConfig(group="slide"))
    census = census_of(data)
    assert [item.label for item in census.items] == [row["label"] for row in rows]
    assert {item.group for item in census.items} == {"s0", "s1", "s2", "s3", "s4"}
    assert census.grouped
    assert not census.split


def test_rows_of_a_table_that_cannot_be_used(patches):
    rows = rows_of(patches)
    rows += [rows[0], {"image": "missing.png", "label": "gland"}, {"image": rows[1]["image"], "label": ""}]
    census = census_of(table(patches, rows))
    found = [(line.name, line.reason) for line in census.report]
    assert sorted(found) == [
        ("gland/s0_0.png", "named_twice"), ("gland/s0_1.png", "cell_empty"), ("missing.png", "image_missing")
    ]  # fmt: skip
    assert len(census.items) == 60


def test_a_picture_that_a_table_puts_in_two_classes_is_in_none(patches):
    rows = rows_of(patches)
    census = census_of(table(patches, [*rows, {**rows[0], "label": "nerve"}]))
    assert {line.reason for line in census.report} == {"label_conflict"}
    assert len(census.items) == 59


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"label": "class"}, "row 2 has no column class; found .'image', 'label', 'slide'.. Map them"),
        ({"split": "slide"}, "row 2: split 's0' is unknown; use one of train"),
    ],
)
def test_columns_that_do_not_fit(patches, columns, words):
    with pytest.raises(InputError, match=words):
        list_pictures(table(patches, rows_of(patches), columns=ColumnsConfig(**columns)))


def test_a_tables_root(patches, tmp_path):
    data = table(tmp_path, rows_of(patches), root=str(patches))
    assert len(census_of(data).items) == 60
    with pytest.raises(InputError, match=r"no such folder; data\.root"):
        list_pictures(table(tmp_path, rows_of(patches), root=str(patches / "nowhere")))


def nct(root: Path, each: int = 3) -> DataConfig:
    for part, kind in enumerate(("NCT-CRC-HE-100K", "CRC-VAL-HE-7K")):
        for number, name in enumerate(sorted(CLASSES)):
            for place in range(each):
                picture(root / kind / name / f"{name}-{place}.tif", seed=1000 * part + 10 * number + place)
    return DataConfig(kind="nct_crc", root=str(root), min_images=3)


def test_nct_crc_holds_out_the_other_patients(tmp_path):
    census = census_of(nct(tmp_path))
    assert census.classes == sorted(CLASSES)
    assert census.split
    assert {item.name.split("/")[0]: item.split for item in census.items} == {
        "NCT-CRC-HE-100K": "train", "CRC-VAL-HE-7K": "held_out"
    }  # fmt: skip


def test_nct_crc_that_is_not_there_says_what_to_fetch(tmp_path):
    with pytest.raises(InputError, match=r"NCT-CRC-HE-100K.zip and CRC-VAL-HE-7K.zip from .*/records/1214456"):
        list_pictures(DataConfig(kind="nct_crc", root=str(tmp_path)))


def test_nct_crc_with_other_classes(tmp_path):
    data = nct(tmp_path)
    shutil.rmtree(tmp_path / "CRC-VAL-HE-7K" / "TUM")
    with pytest.raises(InputError, match=r"CRC-VAL-HE-7K: its nine classes are .*; not as expected: TUM"):
        list_pictures(data)


def test_nct_crc_is_the_same_data_however_it_was_unpacked(tmp_path):
    digest = census_of(nct(tmp_path)).digest
    for part in ("NCT-CRC-HE-100K", "CRC-VAL-HE-7K"):
        shutil.move(tmp_path / part, tmp_path / "there")
        shutil.move(tmp_path / "there", tmp_path / part / part)
        (tmp_path / part / ".unpacked.json").write_text("{}")
    census = census_of(DataConfig(kind="nct_crc", root=str(tmp_path), min_images=3))
    assert census.digest == digest
    assert census.report == []
