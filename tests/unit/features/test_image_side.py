"""What training loads of an image encoder: tops and stores that fit each other, for each kind of library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lile.errors import InputError
from lile.features.detector_config import DetectorConfig
from lile.features.image_encoder import load_image_encoder
from lile.features.image_side import load_image_side, open_image_store
from lile.features.parts import PassThrough
from lile.features.region_vit import RegionVit
from lile.features.shard_writer import write_store
from lile.features.store import GEOMETRY
from lile.fingerprint import files_behind

FEATURES = 7


@pytest.fixture
def regions(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "regions.h5"
    items = [
        (f"i{number}", rng.standard_normal((count, FEATURES)), np.sort(rng.random((count, 4)), axis=1))
        for number, count in enumerate((3, 1, 5))
    ]
    rule = DetectorConfig(weights="random", regions=5).rule()
    write_store(path, items, {"library": "faster_rcnn", "origin": "random", "encoder": "boxes", "regions": rule})
    return path


@pytest.fixture
def vit(tiny_deit: Path) -> dict:
    source = {"modality": "image", "library": "faster_rcnn", "weights": "random", "regions": 5}
    source |= {"nms_iou": 0.5, "confidence": 0.0}
    own = {"modality": "image", "library": "region_vit", "weights": str(tiny_deit), "config": None}
    return {**own, "trainable_blocks": 1, "boxes": True, "source": source}


def test_regions_are_read_as_they_are_stored(regions, vit):
    side = load_image_side(vit["source"], 0, [regions])
    assert isinstance(side.top, PassThrough)
    assert side.width == side.store.width == FEATURES
    assert side.about["origin"] == "random", "a table says so of a row"


@pytest.mark.parametrize("boxes", [True, False])
def test_a_region_vit_reads_its_sources_store(regions, vit, boxes):
    side = load_image_side({**vit, "boxes": boxes}, 0, [regions])
    assert isinstance(side.top, RegionVit)
    tokens, keep = side.store.read(np.array([2, 0, 1]))
    assert tokens.shape == (3, 5, FEATURES + GEOMETRY * boxes)
    found = side.top(torch.from_numpy(tokens).float(), torch.from_numpy(keep))
    assert found.shape == (3, 5, side.width) == (3, 5, 24)
    assert side.about["library"] == "region_vit"
    assert side.about["source"] == side.store.about, "the record says what the regions were made by"


def test_a_model_of_pictures_brings_its_top(tiny_deit, tmp_path):
    block = {"modality": "image", "library": "timm", "weights": str(tiny_deit), "trainable_blocks": 1}
    block["image_size_px"] = 32
    encoder = load_image_encoder(block, 0)
    write_store(tmp_path / "tokens.h5", [("a", np.ones((17, 24)))], encoder.about())
    side = load_image_side(block, 0, [tmp_path / "tokens.h5"])
    tokens = torch.ones(1, 17, 24)
    keep = torch.ones(1, 17, dtype=torch.bool)
    assert torch.equal(side.top.eval()(tokens, keep), encoder.top.eval()(tokens, keep))
    assert side.about == encoder.about()


@pytest.mark.parametrize("library", ["npy", "bottom_up", "timm"])
def test_a_store_of_another_kind_is_refused(regions, vit, tiny_deit, library):
    block = {"modality": "image", "library": library}
    if library == "timm":
        block |= {"weights": str(tiny_deit), "trainable_blocks": 1, "image_size_px": 32}
    with pytest.raises(InputError, match="library 'faster_rcnn' instead of"):
        open_image_store(block, 0, [regions])


def test_regions_chosen_by_another_rule_are_refused(regions, vit):
    with pytest.raises(InputError, match=r"'most': 5.*instead of.*'most': 6"):
        open_image_store({**vit["source"], "regions": 6}, 0, [regions])


def test_how_stores_are_written_is_no_part_of_training(project_root):
    for script in ("train_fold", "evaluate_fold"):
        behind = {
            path.stem for path in files_behind(project_root / "workflow" / "scripts" / f"{script}.py", project_root)
        }
        assert "shard_reader" in behind
        assert not {"shard_writer", "segments", "extract"} & behind
