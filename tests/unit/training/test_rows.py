"""Every trained row of the shipped configs on a tiny fold: loss and gradients, and weights that come back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from lile.evaluation.fold import evaluate_fold
from lile.evaluation.inputs import images_with_role, load_fold
from lile.models.losses import negatives_of, triplet_loss
from lile.training.fold import train_fold
from lile.training.pairs import batches, pair_set

CONFIG = Path(__file__).parents[3] / "config"
BLOCKS = {
    name: block
    for path in (CONFIG / "config.yaml", CONFIG / "trial" / "rows.yaml")
    for name, block in yaml.safe_load(path.read_text("utf-8"))["models"].items()
}
TRAINED = [
    name
    for name, block in BLOCKS.items()
    if block.get("kind", "trained") == "trained" and block.get("training", {}).get("epochs") != 0
]
ASLEEP = ("image.graph.layers",)  # batch norm starts at zero: what stands before it learns from the second step on


def config_of(name, fold_case):
    """The row as it stands in the file, in a width and with batches for a fold of sixteen images."""
    block = {
        key: value for key, value in json.loads(json.dumps(BLOCKS[name])).items() if key not in ("kind", "encoders")
    }
    if block.get("text", {}).get("source") == "words":
        block["text"]["min_count"] = 1
    block["training"] = block.get("training", {}) | {"batch_size": 8, "epochs": 2}
    return {**fold_case.config, "model": name, "model_config": {**block, "width": 8}, "members": [block]}


@pytest.mark.parametrize("name", TRAINED)
def test_every_part_of_a_row_learns_from_its_loss(name, fold_case):
    inputs = load_fold(config_of(name, fold_case), fold_case.files)
    model, settings = inputs.model, inputs.model.config.loss
    train = images_with_role(inputs.folds, 0, "train")
    pairs = pair_set(inputs.descriptions, train, inputs.image_store, inputs.text_store)
    batch = next(batches(pairs, inputs.image_store, inputs.text_store, 12, 0, torch.device("cpu")))
    scores, terms = model(batch.image_tokens, batch.image_keep, batch.text_tokens, batch.text_keep)
    assert scores.shape == (12, 12)
    assert set(terms) == {term for term in ("diversity", "discrepancy", "caption") if getattr(settings, term)}
    negatives = negatives_of(batch.groups, batch.images, batch.texts)
    loss = triplet_loss(scores, negatives, settings.margin, settings.negatives, settings.reduction)
    (loss + sum(getattr(settings, term) * value for term, value in terms.items())).backward()
    for parameter_name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, parameter_name
            assert bool(torch.isfinite(parameter.grad).all()), parameter_name
            assert parameter.grad.abs().sum() > 0 or parameter_name.startswith(ASLEEP), parameter_name


@pytest.mark.parametrize("name", ["vsrn", "pvse"])
def test_a_row_is_evaluated_with_the_weights_that_were_trained(name, fold_case, tmp_path):
    """Running figures of batch norm, a vocabulary and a decoder among them; the validation part tells."""
    config = config_of(name, fold_case)
    out = tmp_path / "out"
    train_fold(config, fold_case.files, tmp_path / "work", out, "code")
    history = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    best = next(entry for entry in reversed(history) if entry["best"])
    swapped = fold_case.files.folds.read_text()
    for old, new in (("test", "?"), ("validation", "test"), ("?", "validation")):
        swapped = swapped.replace(old, new)
    fold_case.files.folds.write_text(swapped)
    config["members"] = [config["model_config"]]
    metrics = evaluate_fold(config, fold_case.files, [out / "model.safetensors"], tmp_path, tmp_path / "scores")
    assert metrics["protocols"]["own"]["Rsum"] == pytest.approx(best["validation"]["Rsum"])
