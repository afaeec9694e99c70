"""A trained fold on its own test images: ``metrics.json`` and ``ranks.npz``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lile.evaluation.inputs import FoldFiles, images_with_role, load_fold
from lile.evaluation.metrics import fold_metrics, write_ranks
from lile.evaluation.score import score_matrix
from lile.files import write_json
from lile.models.weights import load_weights


def evaluate_fold(config: Mapping[str, Any], files: FoldFiles, weights: Path, out: Path) -> dict[str, Any]:
    """Score the fold's test images with all their descriptions and write ``metrics.json`` and ``ranks.npz``.

    Args:
        config: as training got it (see :func:`lile.evaluation.inputs.load_fold`).
        files: the fold's inputs.
        weights: the fold's ``model.safetensors``.
        out: the folder of both outputs.

    Returns:
        The content of ``metrics.json`` (see :func:`lile.evaluation.metrics.fold_metrics`).

    Raises:
        InputError: inputs that do not fit, or a score that is not finite.
    """
    import torch

    inputs = load_fold(config, files)
    load_weights(inputs.model, weights)
    inputs.model.to("cuda" if torch.cuda.is_available() else "cpu")
    fold = int(config["fold"])
    test_ids = images_with_role(inputs.folds, fold, "test")
    descriptions = inputs.descriptions_of(test_ids)
    text_ids = descriptions["text_id"].unique().tolist()
    label = f"{config['dataset']}/{config['model']} fold {fold} test"
    scores = score_matrix(inputs.model, inputs.image_store, inputs.text_store, test_ids, text_ids, label=label)
    images = inputs.images[inputs.images["image_id"].isin(set(test_ids))]
    metrics, ranks = fold_metrics(scores, test_ids, text_ids, images, descriptions, fold=fold)
    write_ranks(out / "ranks.npz", ranks)
    write_json(out / "metrics.json", metrics)
    return metrics
