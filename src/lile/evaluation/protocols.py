"""All figures of one score matrix, under each protocol: recalls, ranks, precisions, and the levels beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lile.evaluation.ceiling import best_ranks
from lile.evaluation.grid import Scores
from lile.evaluation.precision import fold_precisions, precision_chance, precision_figures
from lile.evaluation.ranks import stream_ranks
from lile.evaluation.recalls import chance_of, figures_of, recall_sum
from lile.evaluation.relevance import DIRECTIONS, ByProtocol, Relevance, relevant_counts

BOUNDS = ("chance", "ceiling")
"""What stands beside the figures of a direction, under the same keys: a random list's level, and the best possible
(of recalls and ranks; for precisions no exact ceiling is known)."""


@dataclass(frozen=True)
class Figures:
    """What is known of every query, and the figures made from it."""

    ranks: ByProtocol
    average_precision: ByProtocol
    r_precision: ByProtocol
    protocols: dict[str, dict[str, Any]]
    """``{"i2t": figures, "t2i": figures, "Rsum": .., "chance_Rsum": .., "ceiling_Rsum": ..}`` of each protocol."""


def figures_of_scores(scores: Scores, relevance: Relevance) -> Figures:
    """Return all figures under each protocol of ``relevance``.

    Args:
        scores: finite scores, read block by block several times.
        relevance: of the same images, texts and descriptions.
    """
    names = tuple(relevance.image_codes)
    ranks = stream_ranks(scores, relevance, names)
    average, at_r = fold_precisions(scores, relevance, names)
    counts, best = relevant_counts(relevance), best_ranks(relevance)
    contents = {}
    for name in names:
        gallery = {"i2t": len(ranks[name]["t2i"]), "t2i": len(ranks[name]["i2t"])}
        ways = {}
        for way in DIRECTIONS:
            levels = _levels(counts[name][way], best[name][way], gallery[way])
            precisions = precision_figures(average[name][way], at_r[name][way])
            ways[way] = {**figures_of(ranks[name][way]), **precisions, **levels}
        contents[name] = {**ways, **_sums(ways["i2t"], ways["t2i"])}
    return Figures(ranks, average, at_r, contents)


def _levels(relevant_Q: np.ndarray, best_Q: np.ndarray, gallery: int) -> dict[str, dict[str, float]]:
    """Return the ``BOUNDS`` of one direction."""
    chance = chance_of(relevant_Q, gallery) | precision_chance(relevant_Q, gallery)
    return {"chance": chance, "ceiling": figures_of(best_Q)}


def _sums(i2t: dict[str, Any], t2i: dict[str, Any]) -> dict[str, float]:
    sums = {f"{bound}_Rsum": recall_sum(i2t[bound], t2i[bound]) for bound in BOUNDS}
    return {"Rsum": recall_sum(i2t, t2i), **sums}
