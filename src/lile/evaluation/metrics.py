"""From a fold's scores to the content of ``metrics.json`` and ``ranks.npz``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lile.errors import InputError
from lile.evaluation.ceiling import best_ranks
from lile.evaluation.grid import Scores
from lile.evaluation.ranks import fold_ranks
from lile.evaluation.recalls import figures_of, metrics_of, recall_sum
from lile.evaluation.relevance import DIRECTIONS, PROTOCOLS, ByProtocol, relevance_of, relevant_counts
from lile.files import replacing

BOUNDS = ("chance", "ceiling")
"""What stands beside the figures of a direction, with the same keys: a random list's level, and the best possible."""


def fold_metrics(
    scores: np.ndarray | Scores,
    image_ids: Sequence[str],
    text_ids: Sequence[str],
    images: pd.DataFrame,
    descriptions: pd.DataFrame,
    *,
    fold: int | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return all figures of one fold and the rank of every query.

    Args:
        scores: finite scores of N images and U unique texts: a matrix [N, U], or blocks of one.
        image_ids: of the rows.
        text_ids: of the columns.
        images: ``image_id, group`` of exactly these images, in any order.
        descriptions: ``description_id, image_id, text_id`` of these images' descriptions.
        fold: stands in the result where given.

    Returns:
        The content of ``metrics.json``: ``fold, images, texts, unique_texts, groups, protocols``, where a protocol is
        ``{"i2t": figures, "t2i": figures, "Rsum": .., "chance_Rsum": .., "ceiling_Rsum": ..}`` (figures:
        ``recalls.metrics_of``, and beside ``chance`` the ``ceiling``: see :mod:`lile.evaluation.ceiling`); and the
        arrays of ``ranks.npz``: 0-based ranks ``own_i2t``, ``own_t2i``, ``group_i2t``, ``group_t2i`` with their
        queries' ``image_ids`` and ``description_ids``.

    Raises:
        InputError: ids that do not match, or a score that is not finite (the pair is named).
    """
    groups = _groups_in_order(image_ids, images)
    ranks = fold_ranks(scores, image_ids, text_ids, groups, descriptions)
    relevance = relevance_of(image_ids, text_ids, groups, descriptions)
    counts, best = relevant_counts(relevance), best_ranks(relevance)
    content: dict[str, Any] = {
        "images": len(image_ids),
        "texts": len(descriptions),
        "unique_texts": int(descriptions["text_id"].nunique()),
        "groups": len(set(groups)),
        "protocols": {name: _protocol(ranks[name], counts[name], best[name]) for name in PROTOCOLS},
    }
    if fold is not None:
        content["fold"] = fold
    return content, _arrays(ranks, image_ids, descriptions)


def flat_metrics(protocol: Mapping[str, Any]) -> dict[str, float]:
    """Return one protocol's figures under flat names: ``i2t/R1`` ... ``t2i/MeanR`` and ``Rsum``, without ``BOUNDS``."""
    flat = {
        f"{way}/{name}": float(value)
        for way in DIRECTIONS
        for name, value in protocol[way].items()
        if name not in BOUNDS
    }
    return {**flat, "Rsum": float(protocol["Rsum"])}


def write_ranks(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write ``ranks.npz`` atomically. Raises ``OSError`` and leaves no half file."""
    with replacing(path) as part, part.open("wb") as handle:  # a handle, since savez appends .npz to a name
        np.savez_compressed(handle, **dict[str, Any](arrays))


def _protocol(
    ranks: dict[str, np.ndarray], counts: dict[str, np.ndarray], best: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Return both directions' figures; the gallery of one direction is the queries of the other."""
    i2t = metrics_of(ranks["i2t"], counts["i2t"], gallery=len(ranks["t2i"]))
    t2i = metrics_of(ranks["t2i"], counts["t2i"], gallery=len(ranks["i2t"]))
    i2t["ceiling"], t2i["ceiling"] = figures_of(best["i2t"]), figures_of(best["t2i"])
    sums = {f"{bound}_Rsum": recall_sum(i2t[bound], t2i[bound]) for bound in BOUNDS}
    return {"i2t": i2t, "t2i": t2i, "Rsum": recall_sum(i2t, t2i), **sums}


def _groups_in_order(image_ids: Sequence[str], images: pd.DataFrame) -> list[str]:
    """Return the group of each scored image, refusing tables of other images."""
    group_of = dict(zip(images["image_id"], images["group"], strict=True))
    if len(group_of) != len(images):
        raise InputError("evaluation: images.csv names an image twice; image_id must be unique")
    differ = sorted(set(group_of) ^ set(image_ids))
    if differ:
        raise InputError(
            f"evaluation: scored images and the fold's test images differ by {len(differ)} id(s), first: "
            f"{differ[0]!r}; evaluate the fold the scores were made for"
        )
    return [group_of[image_id] for image_id in image_ids]


def _arrays(ranks: ByProtocol, image_ids: Sequence[str], descriptions: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the named arrays of ``ranks.npz``; strings have a fixed width, so that no pickle is needed."""
    arrays = {f"{name}_{way}": ranks[name][way] for name in PROTOCOLS for way in DIRECTIONS}
    arrays["image_ids"] = np.asarray(list(image_ids), dtype=np.str_)
    arrays["description_ids"] = np.asarray(descriptions["description_id"].tolist(), dtype=np.str_)
    return arrays
