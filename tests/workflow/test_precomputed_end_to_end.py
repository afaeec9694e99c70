"""A folder as SCAN publishes it, and TSV files of the same images, for real: the check, then all up to the table."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from by_hand import read, run

from lile.features.store import TokenStore

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
TABLE = "results/tables/f8k.csv"
COUNTS = {"train": 24, "dev": 6, "test": 8}
WIDTH, REGIONS = 16, 6
BROKEN = 3  # of train: its regions are zero
TRAINING = {"epochs": 2, "batch_size": 16, "learning_rate": 1.0e-3}
BASELINE = {"preset": "baseline", "width": 16, "steps": 1, "training": TRAINING}
OVERLAY = {
    "datasets": {
        "f8k": {
            "kind": "precomputed",
            "root": "f8k_precomp",
            "encoders": {"image": "rows", "text": "tiny_roberta"},
            "shards": 2,
        }
    },
    "encoders": {
        "rows": {"modality": "image", "library": "npy"},
        "lines": {"modality": "image", "library": "bottom_up", "files": ["a.tsv", "b.tsv"]},
        "upon": {
            "modality": "image",
            "library": "region_vit",
            "source": "lines",
            "weights": "random",
            "config": str(ROOT / "config/encoders/tiny_vit"),
            "trainable_blocks": 1,
        },
    },
    "models": {
        "vse": BASELINE
        | {
            "image": {"pooling": "mean"},
            "text": {"source": "words", "recurrent": "forward", "pooling": "last", "min_count": 1},
            "matching": {"kind": "dot"},
        },
        "scan": BASELINE
        | {
            "image": {"pooling": "none"},
            "text": {"source": "words", "recurrent": "both", "pooling": "none", "min_count": 1},
            "matching": {"queries": "text", "inverse_temperature": 9.0, "aggregate": "lse", "direct": "none"},
        },
        "ours": {"maps": 2, "width": 16, "steps": 1, "encoders": {"image": "upon"}, "training": TRAINING},
    },
    "tables": {"f8k": {"dataset": "f8k", "models": ["vse", "scan", "ours"]}},
}


def lines_of(first: int, regions_NRD: np.ndarray) -> str:
    """Lines of a TSV, an image each, with boxes of their own."""
    written = []
    for number, regions_RD in enumerate(regions_NRD, first):
        corners = np.sort(np.random.default_rng(number).uniform(0, 300, (len(regions_RD), 2, 2)), axis=1)
        cells = [base64.b64encode(part.astype("<f4").tobytes()).decode() for part in (corners, regions_RD)]
        written.append("\t".join([str(number), "300", "300", str(len(regions_RD)), *cells]) + "\r\n")
    return "".join(written)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Rows once in train, five times elsewhere; ids; the TSV's second file with the splits in another order."""
    root = tmp_path / "f8k_precomp"
    root.mkdir()
    random = np.random.default_rng(0)
    lines, first = {}, 100
    for word, count in COUNTS.items():
        regions_NRD = random.normal(size=(count, REGIONS, WIDTH)).astype(np.float32)
        lines[word] = lines_of(first, regions_NRD)
        regions_NRD[1, 4:] = 0  # padding
        if word == "train":
            regions_NRD[BROKEN] = 0
        np.save(root / f"{word}_ims.npy", regions_NRD if word == "train" else np.repeat(regions_NRD, 5, axis=0))
        texts = [f"Picture {first + n} of {word}, said for the {k}. time." for n in range(count) for k in range(5)]
        (root / f"{word}_caps.txt").write_bytes("\r\n".join([*texts, ""]).encode())
        (root / f"{word}_ids.txt").write_text("".join(f"{first + n}\n" for n in range(count)))
        first += count
    (tmp_path / "a.tsv").write_text(lines["train"], newline="")
    (tmp_path / "b.tsv").write_text(lines["test"] + lines["dev"], newline="")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(OVERLAY))
    return tmp_path


@pytest.mark.timeout(1200)
def test_from_published_regions_to_a_table(folder):
    checked = run(folder, "-c", "from lile.cli import app; app()", "check", "mine.yaml")
    assert "FAIL" not in checked
    workflow = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--cores", "2"]
    words = ["-m", "snakemake", *workflow, "--configfile", str(folder / "mine.yaml")]
    run(folder, *words, "--", TABLE)

    data = folder / "results/f8k/data"
    dropped = {row["image_id"]: row["reason"] for row in read(data / "report.csv") if row["caption_id"] == ""}
    assert dropped == {f"train:{100 + BROKEN}": "image_regions_zero"}
    images = read(data / "images.csv")
    assert len(images) == sum(COUNTS.values()) - 1

    features = folder / "results/f8k/features"
    with TokenStore(sorted((features / "rows").glob("shard-*.h5"))) as store:
        assert (len(store), store.width) == (len(images), WIDTH)
        assert store.lengths(store.rows_of(["train:101", "train:102"])).tolist() == [4, REGIONS]
    with TokenStore(sorted((features / "lines").glob("shard-*.h5")), geometry=True) as store:
        assert (len(store), store.width) == (len(images), WIDTH + 5)
        assert store.about["others"] == 1, "the image that has no row"

    table = [row for row in read(folder / TABLE) if row["protocol"] == "own" and row["metric"] == "R10"]
    ours = [row for row in table if row["row"] in OVERLAY["models"]]
    assert len(ours) == 2 * len(OVERLAY["models"])
    assert {row["folds"] for row in ours} == {"1"}
    assert all(0 < float(row["mean"]) <= 100 for row in ours)
    page = (folder / TABLE).with_suffix(".md").read_text(encoding="utf-8")
    assert "the data have no pictures to compare" in page
    assert json.loads((data / "leaks.json").read_text())["pictures"] is False

    assert "Nothing to be done" in run(folder, *words, "--dry-run", "--", TABLE)
    with (folder / "b.tsv").open("a", newline="") as file:
        file.write(lines_of(999, np.ones((1, REGIONS, WIDTH))))
    again = run(folder, *words, "--dry-run", "--", TABLE)
    assert "rule tsv_tokens" in again
    assert "rule npy_tokens" not in again
