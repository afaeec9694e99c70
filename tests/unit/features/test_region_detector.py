"""Regions: the batched path gives what one picture at a time gives, in plain loops."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from detector_cases import regions_of_one, tiny_detector

from lile.errors import InputError
from lile.features.detector_config import DetectorConfig
from lile.features.region_detector import RegionDetector, Regions, best_boxes, prepared
from lile.features.regions_extract import in_order

SIZES = [(50, 80), (80, 50), (33, 100), (50, 80), (64, 64), (120, 20), (200, 310), (51, 80), (50, 80), (9, 90)]
RULE = {"regions": 36, "nms_iou": 0.5, "confidence": 0.0}


def detector(model=None, half=None, **knobs) -> RegionDetector:
    config = DetectorConfig.from_dict({"weights": "random", **knobs})
    return prepared(copy.deepcopy(model or tiny_detector()), config, {"weights_digest": "d1"}, half=half)


def regions_of(subject: RegionDetector, pictures: list[np.ndarray], batch_size: int = 3) -> list[Regions]:
    return list(in_order(subject, subject.padded_size, pictures, batch_size))


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize(
    "knobs", [{}, {"regions": 4, "nms_iou": 0.3}, {"nms_iou": 0.9, "regions": 60}, {"confidence": 0.35}], ids=str
)
def test_batches_give_what_one_picture_at_a_time_gives(pictures, knobs, batch_size):
    model = tiny_detector()
    found = regions_of(detector(model, **knobs), pictures, batch_size)
    assert len(found) == len(pictures)
    for picture, regions in zip(pictures, found, strict=True):
        tokens, boxes, some = regions_of_one(model, picture, **{**RULE, **knobs})
        assert regions.found == some
        torch.testing.assert_close(regions.boxes, boxes, atol=2e-5, rtol=0)
        torch.testing.assert_close(regions.tokens.float(), tokens, atol=2e-3, rtol=2e-3)


def test_regions_are_ragged_and_no_more_than_asked_for(pictures):
    counts = [len(regions.boxes) for regions in regions_of(detector(regions=16, nms_iou=0.1), pictures)]
    assert max(counts) == 16
    assert 1 < min(counts) < 16
    assert [len(some.boxes) for some in regions_of(detector(regions=5), pictures)] == [5] * len(pictures)


def test_boxes_are_shares_of_the_picture_and_differ(pictures):
    for regions in regions_of(detector(), pictures):
        assert regions.boxes.dtype == torch.float32
        assert regions.tokens.dtype == torch.float16
        assert (regions.boxes >= 0).all()
        assert (regions.boxes <= 1).all()
        assert (regions.boxes[:, 2:] > regions.boxes[:, :2]).all()
        assert len(regions.boxes.unique(dim=0)) == len(regions.boxes)


@pytest.mark.parametrize("why", ["confidence", "no proposals"])
def test_a_picture_without_boxes_is_one_region_the_whole_of_it(pictures, why):
    model = tiny_detector(rpn_score_thresh=1.1) if why == "no proposals" else tiny_detector()
    subject = detector(model, confidence=1.0 if why == "confidence" else 0.0)
    for picture, regions in zip(pictures, regions_of(subject, pictures), strict=True):
        assert not regions.found
        assert regions.boxes.tolist() == [[0, 0, 1, 1]]
        tokens, _, found = regions_of_one(model, picture, **{**RULE, "confidence": 1.0})
        assert not found
        torch.testing.assert_close(regions.tokens.float(), tokens, atol=2e-3, rtol=2e-3)


def test_some_pictures_of_a_batch_may_have_boxes_and_others_none(pictures):
    model = tiny_detector()
    expected = [regions_of_one(model, picture, **{**RULE, "confidence": 0.58})[2] for picture in pictures]
    assert 0 < sum(expected) < len(expected)
    found = regions_of(detector(model, confidence=0.58), pictures, batch_size=100)
    assert [regions.found for regions in found] == expected


def test_a_picture_of_mostly_padding_first_changes_nothing_for_the_others(pictures):
    fresh = tiny_detector()
    fresh.roi_heads.box_roi_pool.scales = None
    narrow = np.full((8, 400, 3), 90, dtype=np.uint8)
    alone, after = detector(), detector(fresh)
    expected = regions_of(alone, pictures[:1])[0]
    _, found = regions_of(after, [narrow, pictures[0]], batch_size=1)
    torch.testing.assert_close(found.boxes, expected.boxes, atol=0, rtol=0)
    torch.testing.assert_close(found.tokens, expected.tokens, atol=0, rtol=0)


def test_pictures_wait_for_their_like_but_not_without_end():
    batches: list[list[int]] = []

    def regions_of_batch(batch) -> list[Regions]:
        batches.append([int(pixels[0, 0, 0]) for pixels in batch])
        return [Regions(pixels[0, :1, :1], pixels[0, :1, :1], True) for pixels in batch]

    heights = [1, 2, 1, 3, 1, 2, *range(4, 40)]
    coming = (np.full((height, 5, 3), place, dtype=np.uint8) for place, height in enumerate(heights))
    found = in_order(regions_of_batch, lambda height, width: (height, width), coming, 2)
    assert [int(regions.boxes) for regions in found] == list(range(len(heights)))
    assert batches[:2] == [[0, 2], [1, 5]]
    assert max(map(len, batches)) == 2
    assert sorted(place for batch in batches for place in batch) == list(range(len(heights)))
    # After 16 pictures without company the first one waiting goes alone.
    assert batches[2] == [3]


def test_pictures_of_unlike_size_are_our_own_mistake(pictures):
    subject = detector()
    with pytest.raises(AssertionError, match="only like pictures share"):
        subject([torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures[:2]])


def test_the_padded_size_is_that_of_the_detectors_own_transform(pictures):
    subject = detector()
    for picture in pictures:
        images, _ = subject.model.transform([torch.from_numpy(picture).permute(2, 0, 1).float() / 255])
        assert subject.padded_size(*picture.shape[:2]) == tuple(images.tensors.shape[-2:])


def test_suppression_looks_at_all_classes_together():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [50, 50, 60, 60]], [[90, 90, 99, 99], [1, 1, 10, 10]]])
    scores = torch.tensor([[0.6, 0.1], [0.1, 0.7]])
    config = DetectorConfig(weights="random")
    assert best_boxes(scores, boxes, (100, 100), config).tolist() == [[1, 1, 10, 10]]
    apart = DetectorConfig(weights="random", nms_iou=0.9)
    assert best_boxes(scores, boxes, (100, 100), apart).tolist() == [[1, 1, 10, 10], [0, 0, 10, 10]]


def test_boxes_are_cut_at_the_edge_and_empty_ones_go():
    boxes = torch.tensor([[[-5.0, -5, 10, 10]], [[101, 20, 150, 30]], [[20, 20, 20.001, 30]]])
    scores = torch.tensor([[0.2], [0.9], [0.8]])
    kept = best_boxes(scores, boxes, (50, 100), DetectorConfig(weights="random"))
    assert kept.tolist() == [[0, 0, 10, 10]]


def test_boxes_stay_float32_in_half_precision(pictures):
    """bfloat16 rounds a coordinate of 100 to halves of a pixel; only what the heads say may be that coarse."""
    [exact] = regions_of(detector(regions=60), pictures[6:7])
    [coarse] = regions_of(detector(regions=60, half=torch.bfloat16), pictures[6:7])
    pixels = coarse.boxes * torch.tensor([99.0, 64, 99, 64])
    assert not torch.equal(pixels, pixels.bfloat16().float())
    distance = (exact.boxes[:, None] - coarse.boxes[None]).abs().amax(-1).amin(1)
    assert distance.median() < 0.01
    assert coarse.tokens.isfinite().all()


def test_about_names_all_that_changes_regions():
    def identity(**knobs) -> dict[str, Any]:
        about = detector(**knobs).about()
        assert json.loads(json.dumps(about)) == about
        return {key: about[key] for key in ("library", "weights_digest", "regions", "transform")}

    plain = identity()
    assert plain["library"] == "faster_rcnn"
    assert plain["transform"]["min_size_px"] == 64
    for knobs in ({"regions": 10}, {"nms_iou": 0.7}, {"confidence": 0.1}):
        assert identity(**knobs) != plain
    assert identity(batch_size=3) == plain


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"regions": 0}, "encoders: regions=0 must be a whole number of at least 1"),
        ({"nms_iou": 1.5}, "nms_iou is 1.5, it must be a number from 0 to 1"),
        ({"confidence": True}, "confidence is True"),
        ({"region": 3}, "did you mean 'regions'"),
        ({"modality": "text"}, "is an image encoder"),
        ({"weights": ""}, "`weights` is missing"),
    ],
)
def test_a_bad_block_is_refused(knobs, said):
    with pytest.raises(InputError, match=said):
        DetectorConfig.from_dict({"weights": "random", **knobs})
