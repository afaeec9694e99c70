"""A tiny fold on disk: tables, token stores and the shipped tiny encoders with random weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

if TYPE_CHECKING:
    from lile.evaluation.inputs import FoldFiles

ITEMS = 24


@dataclass(frozen=True)
class FoldCase:
    config: dict
    files: FoldFiles


def encoder_blocks(root: Path) -> dict:
    common = {"weights": "random", "trainable_blocks": 1, "batch_size": 8, "convert_from": None}
    vit = {**common, "modality": "image", "library": "timm", "config": str(root / "config/encoders/tiny_vit")}
    roberta = {**common, "modality": "text", "library": "transformers", "max_tokens": 32}
    roberta["config"] = str(root / "config/encoders/tiny_roberta")
    return {"image": {**vit, "image_size_px": 96}, "text": roberta}


def fold_config(root: Path, epochs: int = 3) -> dict:
    model = {
        "preset": "scaled",
        "maps": 2,
        "width": 8,
        "matching": {"reduce": "mean"},
        "training": {"batch_size": 8, "epochs": epochs, "learning_rate": 1e-2},
    }
    name = {"dataset": "tiny", "model": "lile", "fold": 0, "seed": 3}
    name["evaluation"] = {"block_images": None, "trec_depth": 100}
    return {**name, "model_config": model, "members": [model], "encoders": encoder_blocks(root)}


def write_tables(folder: Path) -> None:
    images = pd.DataFrame({"image_id": [f"i{n}" for n in range(ITEMS)]})
    images["path"], images["split"] = "none.png", ""
    images["group"] = [f"g{n // 2}" for n in range(ITEMS)]
    images.to_csv(folder / "images.csv", index=False)
    roles = ["train"] * 16 + ["validation"] * 4 + ["test"] * 4
    pd.DataFrame({"image_id": images["image_id"], "fold_0": roles}).to_csv(folder / "folds.csv", index=False)
    rows = [
        (f"i{n}#{k}", f"c{n}", f"i{n}", f"g{n // 2}", f"text {n} {k}", f"t{n}{k}") for n in range(ITEMS) for k in (0, 1)
    ]
    columns = ["description_id", "caption_id", "image_id", "group", "text", "text_id"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "descriptions.csv", index=False)


@pytest.fixture
def fold_case(tmp_path: Path, project_root: Path) -> FoldCase:
    from lile.evaluation.inputs import FoldFiles
    from lile.features.image_encoder import load_image_encoder
    from lile.features.shard_writer import write_store
    from lile.features.text_encoder import load_text_encoder

    config = fold_config(project_root)
    write_tables(tmp_path)
    random = np.random.default_rng(0)
    image = load_image_encoder(config["encoders"]["image"], config["seed"])
    text = load_text_encoder(config["encoders"]["text"], config["seed"])
    signal = random.normal(size=(ITEMS, 8))  # what an image and its texts have in common
    for name, encoder, ids in (
        ("images.h5", image, [(f"i{n}", n) for n in range(ITEMS)]),
        ("texts.h5", text, [(f"t{n}{k}", n) for n in range(ITEMS) for k in (0, 1)]),
    ):
        mixing = random.normal(size=(8, encoder.width))
        items = ((i, signal[n] @ mixing + 0.1 * random.normal(size=(3 + n % 3, encoder.width))) for i, n in ids)
        write_store(tmp_path / name, items, encoder.about())
    names = ("images.csv", "descriptions.csv", "folds.csv")
    files = FoldFiles([tmp_path / "images.h5"], [tmp_path / "texts.h5"], *(tmp_path / name for name in names))
    return FoldCase(config, files)
