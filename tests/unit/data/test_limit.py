"""The first images of each split, and a report that says what was left out."""

from __future__ import annotations

import pandas as pd
import pytest

from lile.data.limit import first_images
from lile.data.records import REPORT_COLUMNS, Records, check_records


@pytest.fixture
def records() -> Records:
    splits = ["train"] * 4 + ["test"] * 2 + ["train"]
    ids = [f"image{number}" for number in range(len(splits))]
    images = pd.DataFrame({"image_id": ids, "path": ids, "group": ids, "split": splits})
    twice = [name for name in ids for _ in range(2)]
    captions = pd.DataFrame(
        {"caption_id": [f"c{number}" for number in range(14)], "image_id": twice, "group": twice, "text": "a text"}
    )
    return Records(images, captions, pd.DataFrame(columns=list(REPORT_COLUMNS)))


def test_no_limit_changes_nothing(records):
    assert first_images(records, None) is records


def test_each_split_keeps_its_first(records):
    few = first_images(records, 3)
    check_records(few)
    assert few.images["image_id"].tolist() == ["image0", "image1", "image2", "image4", "image5"]
    assert few.images["split"].value_counts().to_dict() == {"train": 3, "test": 2}
    assert len(few.captions) == 2 * 5
    assert few.report["image_id"].tolist() == ["image3", "image6"]
    assert set(few.report["reason"]) == {"over_limit"}
    assert set(few.report["status"]) == {"dropped"}


def test_a_limit_beyond_the_data_keeps_all(records):
    assert len(first_images(records, 100).images) == len(records.images)
