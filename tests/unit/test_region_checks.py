"""Which encoder can read which dataset is said before any job, with the way out."""

from __future__ import annotations

from typing import Any

import pytest

from lile.config import prepare
from lile.errors import InputError

TSV = {"modality": "image", "library": "bottom_up", "files": ["a.tsv"]}


@pytest.fixture
def config() -> dict[str, Any]:
    return {
        "datasets": {
            "f30k": {"kind": "precomputed", "root": "f30k_precomp", "encoders": {"image": "rows", "text": "read"}},
            "mine": {"kind": "pairs", "file": "own.csv", "encoders": {"image": "see", "text": "read"}},
        },
        "encoders": {
            "rows": {"modality": "image", "library": "npy"},
            "lines": dict(TSV),
            "vit": {"modality": "image", "library": "region_vit", "source": "rows", "weights": "a/b", "boxes": False},
            "see": {"modality": "image", "weights": "some/hub-id"},
            "read": {"modality": "text", "weights": "some/other-id"},
        },
        "models": {"plain": {}, "upon": {"encoders": {"image": "vit"}}, "other": {"encoders": {"image": "lines"}}},
        "tables": {"f30k": {"dataset": "f30k", "models": ["plain", "upon", "other"]}},
    }


def test_published_regions_and_a_vit_on_them(config):
    prepared = prepare(config)
    assert prepared["encoders"]["rows"] == {"modality": "image", "library": "npy"}
    assert prepared["encoders"]["lines"]["columns"][1:3] == ["image_w", "image_h"]
    dataset = prepared["datasets"]["f30k"]
    assert dataset["splits"] == {"train": "train", "validation": "dev", "test": "test"}
    assert (dataset["folds"]["by"], dataset["folds"]["count"], dataset["descriptions"]) == ("split", 1, "whole")
    assert "verify" not in dataset


def put(config: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    for key in above:
        config = config[key]
    config[last] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (
            "datasets.mine.encoders.image",
            "rows",
            ["datasets.mine.encoders.image: rows is of library npy", "kind pairs"],
        ),
        ("datasets.f30k.encoders.image", "see", ["see is of library timm, which reads pictures", "without any"]),
        (
            "models.plain.encoders",
            {"image": "see"},
            ["tables.f30k: the image encoder of plain: see is of library timm"],
        ),
        (
            "datasets.mine",
            {"kind": "synthetic", "encoders": {"image": "lines", "text": "read"}},
            ["name images by number"],
        ),
        ("encoders.vit.boxes", True, ["encoders.vit.boxes: true, but rows", "Set boxes: false"]),
        (
            "encoders.lines.columns",
            ["image_id", "boxes"],
            ["encoders.lines.columns: image_w, image_h, num_boxes, features"],
        ),
        ("encoders.lines.files", [], ["encoders.lines.files", "at least 1"]),
        ("encoders.rows.weights", "a/b", ["encoders.rows.weights"]),
        ("datasets.f30k.splits", {"test": "dev"}, ["datasets.f30k.splits: two splits begin with dev"]),
        ("datasets.f30k.splits", {"test": None}, ["datasets.f30k.splits.test: null, but folds.by: split needs it"]),
        (
            "datasets.f30k",
            {
                "kind": "precomputed",
                "root": "x",
                "encoders": {"image": "rows", "text": "read"},
                "splits": {"train": None, "validation": None, "test": None},
                "folds": {"by": "cross_validation", "count": 2},
            },
            ["datasets.f30k.splits: all null"],
        ),
        ("datasets.f30k.verify", "header", ["datasets.f30k.verify"]),
        ("datasets.f30k.captions_per_image", 0, ["the least is 1"]),
    ],
)
def test_what_cannot_be_read_is_said_with_the_way_out(config, path, value, words):
    put(config, path, value)
    with pytest.raises(InputError) as raised:
        prepare(config)
    for word in words:
        assert word in str(raised.value)


def test_names_that_lead_nowhere_are_said_once(config):
    put(config, "encoders.vit.source", "rowz")
    put(config, "datasets.f30k.encoders.image", "rowz")
    with pytest.raises(InputError) as raised:
        prepare(config)
    assert str(raised.value).count("rowz is not among encoders") == 2
