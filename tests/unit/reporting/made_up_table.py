"""A table of made-up folds: real ranks of random scores, lifted where image and text belong together."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd

from lile.evaluation.metrics import fold_metrics, write_ranks
from lile.reporting.table import write_table

CONFIG = {
    "table": "demo",
    "dataset": "demo",
    "kind": "synthetic",
    "models": ["lile", "lile_paper"],
    "folds": 3,
    "by": "cross_validation",
    "published": None,
    "group_by": "group",
    "title": "not needed, kept in the manifest",
}
ABOUT = {
    "image": {"encoder": "tiny_vit", "library": "timm", "weights": "random", "origin": "random", "weights_digest": "a"},
    "text": {
        "encoder": "minilm",
        "library": "transformers",
        "weights": "x",
        "origin": "pretrained",
        "weights_digest": "b",
    },
}


def made_up_metrics(fold: int, quality: float, seed: int) -> tuple[dict, dict]:
    """Figures and arrays of real ranks: random scores, lifted by ``quality`` where image and text belong together."""
    number = 40 + fold
    images = pd.DataFrame(
        {"image_id": [f"i{n}" for n in range(number)], "group": [f"g{n // 2}" for n in range(number)]}
    )
    owners = [n % number for n in range(2 * number)]
    texts = [f"t{n % (2 * number - 5)}" for n in range(2 * number)]
    descriptions = pd.DataFrame(
        {
            "description_id": [f"d{n}" for n in range(2 * number)],
            "image_id": [f"i{n}" for n in owners],
            "text_id": texts,
        }
    )
    text_ids = sorted(set(texts))
    scores = np.random.default_rng([seed, fold]).random((number, len(text_ids)))
    for owner, text in zip(owners, texts, strict=True):
        scores[owner, text_ids.index(text)] += quality
    return fold_metrics(scores, images["image_id"].tolist(), text_ids, images, descriptions, fold=fold)


def made_up_run(model: str, fold: int, preset: str) -> dict:
    return {
        "dataset": "demo",
        "model": model,
        "fold": fold,
        "preset": preset,
        "config": {"matching": {"reduce": "mean" if preset == "scaled" else "sum"}},
        "seed": 0,
        "code": "c0de",
        "inputs": {"results/demo/data/folds.csv": "f01d5"},
        "encoders": copy.deepcopy(ABOUT),
    }


def made_up_history(fold: int) -> list[dict]:
    return [
        {"epoch": n, "loss": 1 / n, "alpha": 0.5, "validation": {"Rsum": 50.0 * n + fold}, "best": True}
        for n in (1, 2, 3)
    ]


def write_metrics(folder: Path, content: dict, arrays: dict) -> None:
    write(folder / "metrics.json", content)
    write_ranks(folder / "ranks.npz", arrays)


def write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def change(path: Path, *keys: str, value: object) -> None:
    whole = inner = json.loads(path.read_text(encoding="utf-8"))
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    write(path, whole)


def make(results: Path, **changed: object) -> tuple[list[dict[str, str]], str]:
    out = results / "tables"
    page = write_table({**CONFIG, **changed}, results, out, ["table.py", "--out-dir", "tables"])
    with (out / "demo.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle)), page


def pick(rows: list[dict[str, str]], **wanted: str) -> list[dict[str, str]]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def write_run(folder: Path, model: str, run: int, preset: str, quality: float, folds: int = 3) -> None:
    """Write all files of one run; further seeds of a fold have the same test part and other scores."""
    folder.mkdir(parents=True)
    content, arrays = made_up_metrics(run % folds, quality, seed=len(model) + 100 * (run // folds))
    write_metrics(folder, {**content, "fold": run}, arrays)
    write(folder / "run.json", made_up_run(model, run, preset))
    lines = [json.dumps(epoch) for epoch in made_up_history(run)]
    (folder / "history.jsonl").write_text("\n".join(lines), encoding="utf-8")


def made_up_leaks(**kinds: int) -> dict:
    counts = dict.fromkeys(("any", "same_pixels", "near_image", "same_text", "both"), 0) | kinds
    return {
        "dataset": "demo",
        "near_duplicate_bits": 32,
        "pictures": True,
        "hash_bits": 256,
        "test": {"images": 8} | counts,
    }
