"""Tiny labelled pictures: each class has a colour, each slide four pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

COLOURS = {"gland": (200, 60, 60), "nerve": (60, 180, 60), "stroma": (60, 60, 200)}
SLIDES, EACH = 5, 4


def draw(path: Path, colour: tuple[int, int, int], seed: int) -> None:
    """Write noise of a colour, 24 x 20 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(colour, 40, (20, 24, 3))
    Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    """class/s<slide>_<number>.png: 3 classes, 5 slides of each, 4 pictures of a slide."""
    root = tmp_path / "patches"
    for number, (name, colour) in enumerate(COLOURS.items()):
        for slide in range(SLIDES):
            for picture in range(EACH):
                seed = 100 * number + 10 * slide + picture
                draw(root / name / f"s{slide}_{picture}.png", colour, seed)
    return root


@pytest.fixture
def job(patches: Path, project_root: Path) -> dict[str, Any]:
    """What the workflow passes: the shipped tiny ViT from random weights, two epochs."""
    data = {
        "kind": "folder",
        "root": str(patches),
        "group_pattern": r"^(\w+/s\d)_",
        "held_out": 0.2,
        "validation": 0.25,
    }
    block = {
        "data": {**data, "held_out": 0.2, "validation": 0.25},
        "start": "random",
        "config": str(project_root / "config/encoders/tiny_vit"),
        "image_size_px": 32,
        "training": {"epochs": 2, "batch_size": 12, "learning_rate": 1e-3},
    }
    return {"name": "toy", "seed": 3, "pretraining": block}
