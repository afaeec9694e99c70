"""Rows from a dual encoder, through all stages: zero-shot is its own cosine, a probe trains on the same store."""

from __future__ import annotations

import json
from pathlib import Path

import dual_cases
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModel, AutoProcessor

from lile.config import prepare
from lile.evaluation.fold import evaluate_fold
from lile.evaluation.inputs import FoldFiles
from lile.features.extract import extract_image_tokens, extract_text_tokens
from lile.features.image_encoder import load_image_encoder
from lile.features.text_encoder import load_text_encoder
from lile.stages import slice_for
from lile.training.fold import train_fold

ROLES = ["train"] * 6 + ["validation"] * 3 + ["test"] * 5
ROWS = """
datasets:
  own: {kind: pairs, file: own.csv, encoders: {image: clip_image, text: clip_text}}
encoders:
  clip_image: &clip {modality: image, library: dual_encoder, weights: FOLDER, trainable_blocks: 0}
  clip_text: {<<: *clip, modality: text}
models:
  clip: &zero_shot
    preset: baseline
    image: {pooling: given}
    text: {pooling: given}
    matching: {kind: dot}
    training: {epochs: 0}
  clip_probe:
    <<: *zero_shot
    width: 8
    image: {pooling: mean}
    text: {pooling: mean}
    training: {epochs: 3, batch_size: 4, learning_rate: 1.0e-2}
tables: {own: {dataset: own, models: [clip, clip_probe]}}
"""


@pytest.fixture(scope="module")
def case(tmp_path_factory, words) -> tuple[Path, Path, FoldFiles]:
    """A tiny CLIP, and a fold of drawn images with two descriptions each, in stores that it made."""
    root = tmp_path_factory.mktemp("rows")
    folder = dual_cases.save_clip(root / "clip")
    rng = np.random.default_rng(5)
    ids = [f"i{place}" for place in range(len(ROLES))]
    for name in ids:
        colours = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8))
        colours.resize((50, 40), Image.Resampling.NEAREST).save(root / f"{name}.png")
    paths = [str(root / f"{name}.png") for name in ids]
    images = pd.DataFrame({"image_id": ids, "path": paths, "group": ids, "split": ""})
    captions = {(name, k): " ".join(rng.choice(words, 4)) for name in ids for k in (0, 1)}
    rows = [(f"{name}#{k}", name, name, name, text, f"t{name}{k}") for (name, k), text in captions.items()]
    columns = ["description_id", "caption_id", "image_id", "group", "text", "text_id"]
    descriptions = pd.DataFrame(rows, columns=columns)
    images.to_csv(root / "images.csv", index=False)
    descriptions.to_csv(root / "descriptions.csv", index=False)
    pd.DataFrame({"image_id": ids, "fold_0": ROLES}).to_csv(root / "folds.csv", index=False)
    encoder = {"weights": str(folder), "library": "dual_encoder", "trainable_blocks": 0}
    extract_image_tokens(images, load_image_encoder(encoder, 0), root / "images.h5", name="clip_image")
    extract_text_tokens(descriptions, load_text_encoder(encoder, 0), root / "texts.h5", name="clip_text")
    tables = (root / "images.csv", root / "descriptions.csv", root / "folds.csv")
    return root, folder, FoldFiles([root / "images.h5"], [root / "texts.h5"], *tables)


def run(case: tuple[Path, Path, FoldFiles], row: str, out: Path) -> dict:
    """Train and evaluate a row as the workflow does."""
    _, folder, files = case
    config = prepare(yaml.safe_load(ROWS.replace("FOLDER", str(folder))))
    train, evaluate = (
        json.loads(slice_for(stage, config, dataset="own", model=row, fold="0")) for stage in ("train", "evaluate")
    )
    train_fold(train, files, out / "progress", out, "c0de")
    return evaluate_fold(evaluate, files, [out / "model.safetensors"], out / "eval", out / "work")


def test_a_zero_shot_row_is_the_published_models_own_retrieval(case, tmp_path):
    root, folder, _ = case
    found = run(case, "clip", tmp_path)
    texts = pd.read_csv(root / "descriptions.csv")
    images = pd.read_csv(root / "images.csv")[np.array(ROLES) == "test"]
    texts = texts[texts["image_id"].isin(images["image_id"])]
    processor, model = AutoProcessor.from_pretrained(folder, backend="pil"), AutoModel.from_pretrained(folder)
    pictures = [Image.open(path) for path in images["path"]]
    with torch.no_grad():
        inputs = processor(images=pictures, text=texts["text"].tolist(), padding=True, return_tensors="pt")
        logits = model.eval()(**inputs).logits_per_image.numpy()
    own = images["image_id"].to_numpy()[:, None] == texts["image_id"].to_numpy()[None]
    gaps = np.diff(np.sort(logits, axis=0), axis=0).min(), np.diff(np.sort(logits, axis=1), axis=1).min()
    assert min(gaps) > 5e-3, "scores so near each other that float16 may swap them would make this a test of chance"
    i2t = [(row > row[right].max()).sum() + 1 for row, right in zip(logits, own, strict=True)]
    t2i = [(row > row[right].max()).sum() + 1 for row, right in zip(logits.T, own.T, strict=True)]
    for direction, ranks in (("i2t", i2t), ("t2i", t2i)):
        for k in (1, 5):
            expected = 100 * np.mean(np.array(ranks) <= k)
            assert found["protocols"]["own"][direction][f"R{k}"] == pytest.approx(expected), (direction, k)


def test_a_probe_trains_a_projection_on_the_same_vectors(case, tmp_path):
    found = run(case, "clip_probe", tmp_path)
    shapes = sorted(tuple(value.shape) for value in load_file(tmp_path / "model.safetensors").values())
    assert (8, 12) in shapes, "a projection from the joint space's 12 to 8"
    history = (tmp_path / "history.jsonl").read_text().splitlines()
    assert len(history) == 3
    assert 0 <= found["protocols"]["own"]["i2t"]["R5"] <= 100
