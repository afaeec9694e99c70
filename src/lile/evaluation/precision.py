"""Average precision and R-precision of every query, and what chance alone would give.

With the r relevant items of a query at the places p_1 < ... < p_r of its list, counted from 1:

    average precision = mean over k of k / p_k,        R-precision = share of the p_k that are at most r.

Ties count against the query, as in :mod:`lile.evaluation.ranks`: of equal scores, what is not relevant stands first.
So p_k is k plus the number of items that are not relevant and score at least as high as the k-th relevant item, and no
list has to be written out: each is sorted once, and the relevant scores are looked up in it.

Shapes: Q queries, G gallery items, r relevant items of one query.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lile.evaluation.grid import Scores
from lile.evaluation.lists import query_lists
from lile.evaluation.relevance import DIRECTIONS, PROTOCOLS, ByProtocol, Relevance, relevant_items

PRECISIONS = ("mAP", "Rprec")


def fold_precisions(
    scores: Scores, relevance: Relevance, protocols: Sequence[str] = PROTOCOLS
) -> tuple[ByProtocol, ByProtocol]:
    """Return average precision and R-precision of every query, from 0 to 1, for both directions.

    Costs a sort of every list; holds one batch of lists (see :mod:`lile.evaluation.lists`).

    Args:
        scores: finite scores (:func:`lile.evaluation.ranks.fold_ranks` checks them).
        relevance: of the same images and descriptions.
        protocols: which of those in ``relevance`` are wanted.

    Returns:
        Two of ``{protocol: {"i2t": float64 [N], "t2i": float64 [D]}}``.
    """
    average: ByProtocol = {name: {} for name in protocols}
    at_r: ByProtocol = {name: {} for name in protocols}
    for way in DIRECTIONS:
        items = {name: relevant_items(relevance, name, way) for name in protocols}
        for name in protocols:
            average[name][way], at_r[name][way] = (np.empty(len(items[name])) for _ in range(2))
        for queries, scores_QG in query_lists(scores, relevance, way):
            rising_QG = np.sort(scores_QG, axis=1)
            for query, scores_G, rising_G in zip(queries, scores_QG, rising_QG, strict=True):
                for name in protocols:
                    places_r = right_places(rising_G, scores_G[items[name][query]])
                    average[name][way][query] = np.mean(np.arange(1, len(places_r) + 1) / places_r)
                    at_r[name][way][query] = np.mean(places_r <= len(places_r))
    return average, at_r


def right_places(rising_G: np.ndarray, right_r: np.ndarray) -> np.ndarray:
    """Return where a query's relevant items stand in its list, ties counting against it: rising, from 1, int64 [r].

    Args:
        rising_G: scores of the whole gallery, lowest first.
        right_r: scores of the relevant items among them, in any order.
    """
    rising_r = np.sort(right_r)
    not_below = len(rising_G) - np.searchsorted(rising_G, rising_r)
    right_not_below = len(rising_r) - np.searchsorted(rising_r, rising_r)
    return np.arange(1, len(rising_r) + 1) + (not_below - right_not_below)[::-1]


def precision_figures(average_Q: np.ndarray, at_r_Q: np.ndarray) -> dict[str, float]:
    """Return ``mAP`` and ``Rprec`` in percent: the means over queries."""
    return {"mAP": 100.0 * float(np.mean(average_Q)), "Rprec": 100.0 * float(np.mean(at_r_Q))}


def precision_chance(relevant_Q: np.ndarray, gallery: int) -> dict[str, float]:
    """Return what lists in random order give on average, in percent, exactly: the keys of ``PRECISIONS``.

    With r of n items relevant, place i holds one with probability r/n, and a pair of places with r(r-1) / n(n-1); so
    the expected sum of x_i (x_1 + ... + x_i) / i over all places, divided by r, is

        (H_n + (n - H_n)(r - 1) / (n - 1)) / n,        H_n = 1 + 1/2 + ... + 1/n,

    for average precision, and r / n for R-precision.

    Args:
        relevant_Q: number of relevant items r of each query, at least 1, [Q].
        gallery: number of items n.
    """
    harmonic = float(np.sum(1.0 / np.arange(1, gallery + 1)))
    mean = float(np.mean(relevant_Q))
    pairs = (gallery - harmonic) * (mean - 1.0) / max(gallery - 1, 1)  # linear in r, so the mean r is enough
    return {"mAP": 100.0 * (harmonic + pairs) / gallery, "Rprec": 100.0 * mean / gallery}
