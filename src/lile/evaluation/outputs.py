"""What an evaluation leaves behind: ``metrics.json``, ``ranks.npz`` and the folder ``trec``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from lile.evaluation.batch import diagonal_batch
from lile.evaluation.grid import Scores
from lile.evaluation.metrics import fold_metrics, groups_in_order, write_ranks
from lile.evaluation.relevance import relevance_of
from lile.evaluation.trec import RunNames, write_trec
from lile.files import write_json


class Tested(Protocol):
    """What a fold's scores are the scores of."""

    @property
    def image_ids(self) -> Sequence[str]:
        """Of the rows, in the order of the split."""

    @property
    def text_ids(self) -> Sequence[str]:
        """Of the columns."""

    @property
    def images(self) -> pd.DataFrame:
        """``image_id, group`` of exactly these images."""

    @property
    def descriptions(self) -> pd.DataFrame:
        """``description_id, image_id, text_id`` of these images' descriptions."""


def write_evaluation(part: Tested, scores: Scores, config: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Write ``trec/``, ``ranks.npz`` and ``metrics.json`` of a fold's test scores, each file atomically.

    ``ranks.npz`` holds, beside the queries' ranks, the scores of a small batch (:mod:`lile.evaluation.batch`).

    Args:
        part: what was scored.
        scores: of its images (rows) and texts (columns), read block by block.
        config: ``model, fold``, and ``evaluation: {block_images, trec_depth}`` of the dataset.
        out: the folder.

    Returns:
        The content of ``metrics.json`` (see :func:`lile.evaluation.metrics.fold_metrics`).

    Raises:
        InputError: a score that is not finite, or too few images for a block.
    """
    ids, options = (part.image_ids, part.text_ids), config["evaluation"]
    blocks = options["block_images"]
    metrics, arrays = fold_metrics(
        scores, *ids, part.images, part.descriptions, fold=int(config["fold"]), block_images=blocks
    )
    groups = groups_in_order(part.image_ids, part.images)
    relevance = relevance_of(*ids, groups, part.descriptions)
    names = RunNames(part.image_ids, part.descriptions["description_id"].tolist(), config["model"])
    write_trec(out / "trec", scores, relevance, names, options["trec_depth"])
    write_ranks(out / "ranks.npz", arrays | diagonal_batch(scores, *ids, groups, part.descriptions))
    write_json(out / "metrics.json", metrics)
    return metrics
