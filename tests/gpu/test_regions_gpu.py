"""A detector's regions on a real GPU: in float32 those of the CPU, in 16 bits with boxes as fine as float32's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detector_cases import tiny_detector
from lile.features.detector_config import DetectorConfig
from lile.features.region_detector import Regions, half_of, prepared
from lile.features.regions_extract import in_order

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
SIZES = [(50, 80), (80, 50), (50, 80), (120, 20), (200, 310), (50, 80)]


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


def regions(pictures: list[np.ndarray], device: str, half: torch.dtype | None) -> list[Regions]:
    config = DetectorConfig(weights="random", regions=60)
    subject = prepared(tiny_detector(), config, {}, device=torch.device(device), half=half)
    return list(in_order(subject, subject.padded_size, pictures, 2))


def test_in_float32_they_are_those_of_the_cpu(pictures, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    for found, expected in zip(regions(pictures, "cuda", None), regions(pictures, "cpu", None), strict=True):
        torch.testing.assert_close(found.boxes, expected.boxes, atol=1e-4, rtol=0)
        torch.testing.assert_close(found.tokens, expected.tokens, atol=4e-3, rtol=4e-3)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=str)
def test_in_16_bits_boxes_stay_fine(pictures, half):
    for found, exact in zip(regions(pictures, "cuda", half), regions(pictures, "cpu", None), strict=True):
        assert found.tokens.device.type == found.boxes.device.type == "cpu"
        pixels = found.boxes * 1000
        assert not torch.equal(pixels, pixels.to(half).float())
        nearest = (exact.boxes[:, None] - found.boxes[None]).abs().amax(-1).amin(1)
        assert nearest.median() < 0.01
        assert found.tokens.isfinite().all()


def test_a_gpu_computes_in_16_bits():
    assert half_of(torch.device("cuda")) in (torch.bfloat16, torch.float16)
    assert half_of(torch.device("cpu")) is None
