"""A detector's regions for real: planned, run in two shards, in a store that a ViT on regions can read."""

from __future__ import annotations

import copy
import csv
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from lile.features.store import TokenStore

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
SIZES = [(80, 60), (60, 80), (80, 61)]
SHARDS = [f"results/mine/features/frcnn/shard-{shard}.h5" for shard in (0, 1)]
OVERLAY: dict[str, Any] = {
    "datasets": {
        "mine": {
            "kind": "pairs",
            "file": "pairs.csv",
            "columns": {"image": "file", "group": "file"},
            "encoders": {"image": "vit_on_regions", "text": "tiny_roberta"},
            "shards": 2,
            "folds": {"count": 2},
        }
    },
    "encoders": {
        "frcnn": {"modality": "image", "library": "faster_rcnn", "weights": "random", "regions": 9},
        "vit_on_regions": {
            "modality": "image",
            "library": "region_vit",
            "source": "frcnn",
            "weights": "random",
            "config": "config/encoders/tiny_vit",
            "trainable_blocks": 1,
        },
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A person's folder with three pictures and their captions."""
    rng = np.random.default_rng(0)
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "caption"])
        for number, (width, height) in enumerate(SIZES):
            Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
            rows.writerow([f"{number}.png", f"Picture {number}."])
    return tmp_path


def run(folder: Path, overlay: dict[str, Any], *words: str) -> str:
    """Run Snakemake in the person's folder; return all that it said."""
    (folder / "mine.yaml").write_text(yaml.safe_dump(overlay))
    where = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--cores", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *where, "--configfile", str(folder / "mine.yaml"), *words, "--", *SHARDS],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    logs = "".join(path.read_text() for path in (folder / "results").rglob("region_tokens/*.log"))
    assert done.returncode == 0, done.stdout[-3000:] + logs[-3000:]
    return done.stdout


def changed(**keys: Any) -> dict[str, Any]:
    overlay = copy.deepcopy(OVERLAY)
    overlay["encoders"]["frcnn"] |= keys
    return overlay


@pytest.mark.timeout(900)
def test_two_shards_of_regions(folder):
    planned = run(folder, OVERLAY, "--dry-run")
    assert re.search(r"^region_tokens +2$", planned, re.MULTILINE)
    assert "image_tokens" not in planned

    run(folder, OVERLAY)
    store = TokenStore([folder / path for path in SHARDS], geometry=True)
    assert store.ids == ["0.png", "2.png", "1.png"]
    assert store.width == 1024 + 5
    assert store.lengths(np.arange(3)).max() == 9
    assert store.about["origin"] == "random"
    assert store.about["encoder"] == "frcnn"
    tokens, keep = store.read(np.arange(3))
    assert (tokens[keep][:, 1024:] >= 0).all()
    assert (tokens[keep][:, 1024:] <= 1).all()
    assert not [path for path in (folder / "work").rglob("*") if path.is_file()]

    assert "Nothing to be done" in run(folder, OVERLAY, "--dry-run")
    assert "Nothing to be done" in run(folder, changed(batch_size=2), "--dry-run")
    assert re.search(r"^region_tokens +2$", run(folder, changed(regions=8), "--dry-run"), re.MULTILINE)
