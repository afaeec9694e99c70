"""Storing regions: what is stored is each picture's own regions, whatever the batches, processes and shards."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from detector_cases import regions_of_one, tiny_detector
from lile.errors import InputError
from lile.features import regions_extract
from lile.features.detector_config import DetectorConfig
from lile.features.image_side import load_image_side
from lile.features.pictures import Pictures
from lile.features.region_detector import RegionDetector, prepared
from lile.features.regions_extract import extract_regions
from lile.features.store import TokenStore
from lile.fingerprint import files_behind

COUNT = 11


def detector(**knobs) -> RegionDetector:
    config = DetectorConfig.from_dict({"weights": "random", **knobs})
    return prepared(tiny_detector(), config, {"origin": "random", "weights_digest": "d1"})


@pytest.fixture
def images(tmp_path: Path) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    paths = [tmp_path / "images" / f"{place}.png" for place in range(COUNT)]
    for place, path in enumerate(paths):
        size = (50, 80, 3) if place % 3 else (*rng.integers(20, 120, 2), 3)
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(path)
    ids = [f"coco:{9 - place}" for place in range(COUNT)]
    return pd.DataFrame({"image_id": ids, "path": list(map(str, paths)), "group": ids, "split": ""})


def extract(tmp_path: Path, images: pd.DataFrame, name: str = "s.h5", subject=None, **where) -> Path:
    out = tmp_path / "out" / name
    extract_regions(images, subject or detector(), out, name="frcnn", work=tmp_path / "work" / name, **where)
    return out


@pytest.mark.parametrize(("batch_size", "threads", "shards"), [(1, 1, 1), (4, 2, 1), (100, 1, 3), (2, 1, 12)])
def test_stored_are_each_pictures_own_regions_in_the_tables_order(tmp_path, images, batch_size, threads, shards):
    paths = [
        extract(tmp_path, images, f"{k}.h5", batch_size=batch_size, threads=threads, shard=k, shards=shards)
        for k in range(shards)
    ]
    store = TokenStore(paths, expect=detector().about(), geometry=True)  # a twelfth shard has none of eleven images
    assert store.width == 12 + 5
    assert store.ids == [item_id for k in range(len(paths)) for item_id in images["image_id"][k::shards]]
    tokens, keep = store.read(store.rows_of(images["image_id"].tolist()))
    for place, path in enumerate(images["path"]):
        picture = np.array(Image.open(path))
        expected, boxes, _ = regions_of_one(tiny_detector(), picture, 36, 0.5, 0.0)
        found = torch.from_numpy(tokens[place][keep[place]]).float()
        torch.testing.assert_close(found[:, :12], expected, atol=2e-3, rtol=2e-3)
        torch.testing.assert_close(found[:, 12:16], boxes, atol=1e-3, rtol=0)
    assert store.about["encoder"] == "frcnn"
    assert store.about["without_boxes"] == 0


def test_a_killed_job_goes_on_and_ends_with_the_same_file(tmp_path, images, monkeypatch):
    monkeypatch.setattr(regions_extract, "SEGMENT", 4)
    whole = extract(tmp_path, images, batch_size=2, code="c0de").read_bytes()
    asked: list[int] = []

    class Killed(RegionDetector):
        def __call__(self, pictures):
            asked.append(len(pictures))
            if sum(asked) > 6:
                raise KeyboardInterrupt
            return super().__call__(pictures)

    subject = detector()
    killed = Killed(model=subject.model, config=subject.config, width=subject.width, facts=subject.facts)
    again = tmp_path / "again"
    with pytest.raises(KeyboardInterrupt):
        extract(again, images, subject=killed, batch_size=2, code="c0de")
    assert not (again / "out" / "s.h5").exists()
    made: list[int] = []
    monkeypatch.setattr(Pictures, "between", _noting(Pictures.between, made))
    assert extract(again, images, batch_size=2, code="c0de").read_bytes() == whole
    assert made == [4, 8]
    assert not list((again / "work").rglob("*.h5"))


def _noting(between, made: list[int]):
    def noted(self, start: int, stop: int):
        made.append(start)
        return between(self, start, stop)

    return noted


def test_pictures_without_a_box_are_counted_and_named_also_over_a_restart(tmp_path, images, monkeypatch, caplog):
    monkeypatch.setattr(regions_extract, "SEGMENT", 4)
    sure = 0.58
    without = [
        item_id
        for item_id, path in zip(images["image_id"], images["path"], strict=True)
        if not regions_of_one(tiny_detector(), np.array(Image.open(path)), 36, 0.5, sure)[2]
    ]
    assert 0 < len(without) < COUNT
    with caplog.at_level(logging.WARNING):
        store = TokenStore([extract(tmp_path, images, subject=detector(confidence=sure))], geometry=True)
    assert store.about["without_boxes"] == len(without)
    assert without[0] in caplog.text
    assert "no box found in" in caplog.text
    tokens, keep = store.read(store.rows_of(without))
    assert keep.sum(1).tolist() == [1] * len(without)
    np.testing.assert_array_equal(tokens[:, 0, 12:], np.tile([0, 0, 1, 1, 1], (len(without), 1)))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_broken_picture_is_named_and_no_shard_is_left(tmp_path, images, threads):
    broken = Path(images["path"][5])
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(InputError, match="cannot be decoded") as caught:
        extract(tmp_path, images, threads=threads)
    assert str(broken) in str(caught.value)
    assert "verify: decode" in str(caught.value)
    assert not (tmp_path / "out" / "s.h5").exists()


def test_a_shard_that_is_not_there_is_refused(tmp_path, images):
    with pytest.raises(InputError, match="shard 2 of 2"):
        extract(tmp_path, images, shard=2, shards=2)


def test_a_store_of_other_knobs_is_refused(tmp_path, images):
    path = extract(tmp_path, images)
    with pytest.raises(InputError, match="nms_iou"):
        TokenStore([path], expect=detector(nms_iou=0.7).about())


@pytest.mark.parametrize("workers", [0, 2])
def test_pictures_come_in_order_in_pieces_and_from_anywhere(images, workers):
    paths = images["path"].tolist()
    expected = [np.array(Image.open(path)) for path in paths]
    pictures = Pictures(paths, workers=workers, ahead=3)
    for start, stop in [(0, 4), (4, 9), (2, 5)]:
        found = list(pictures.between(start, stop))
        assert len(found) == stop - start
        for one, other in zip(found, expected[start:stop], strict=True):
            np.testing.assert_array_equal(one, other)
    pictures.close()


@pytest.mark.parametrize("library", ["faster_rcnn", "region_vit"])
def test_a_row_that_stands_on_random_regions_says_so(tmp_path, images, tiny_deit, library):
    path = extract(tmp_path, images)
    config = detector().config
    knobs = {name: getattr(config, name) for name in ("regions", "nms_iou", "confidence")}
    source = {"modality": "image", "library": "faster_rcnn", "weights": "random", **knobs}
    vit = {"modality": "image", "library": library, "weights": str(tiny_deit), "trainable_blocks": 2, "boxes": True}
    side = load_image_side({**vit, "source": source} if library == "region_vit" else source, 0, [path])
    assert side.about["origin"] == "random"
    tokens, keep = side.store.read(np.arange(3))
    found = side.top(torch.from_numpy(tokens).float(), torch.from_numpy(keep))
    assert found.shape[:2] == keep.shape
    assert found.shape[2] == side.width == (24 if library == "region_vit" else 12)


def test_a_change_of_the_detector_makes_regions_anew_and_no_other_tokens(project_root):
    def behind(script: str) -> set[str]:
        found = files_behind(project_root / "workflow" / "scripts" / f"{script}.py", project_root)
        return {path.stem for path in found}

    own = {"detector", "detector_config", "region_detector", "regions_extract", "pictures"}
    assert own <= behind("region_tokens")
    assert not own & (behind("image_tokens") | behind("text_tokens") | behind("train_fold"))
    assert not {"image_encoder", "timm_model", "region_vit", "store"} & behind("region_tokens")
