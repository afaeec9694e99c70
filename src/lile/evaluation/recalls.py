"""Recalls, median and mean rank of a list of first-hit ranks, and what chance alone would give.

Recalls are percentages: R@K is the share of queries with a right item among the first K. Ranks in results are 1-based.
Chance levels are exact, not simulated. With r of n gallery items relevant and the list in random order, the first K
hold none of them with the hypergeometric probability

    C(n - r, K) / C(n, K) = product over k < K of (n - r - k) / (n - k),

and the level of a fold is the average over its queries.
"""

from __future__ import annotations

from typing import Any

import numpy as np

DEPTHS = (1, 5, 10)
RECALLS = tuple(f"R{depth}" for depth in DEPTHS)


def figures_of(ranks_Q: np.ndarray) -> dict[str, float]:
    """Return ``R1``, ``R5``, ``R10`` in percent and ``MedR``, ``MeanR`` 1-based of 0-based ranks [Q], Q >= 1."""
    figures = {f"R{depth}": 100.0 * float(np.mean(ranks_Q < depth)) for depth in DEPTHS}
    return {**figures, "MedR": float(np.median(ranks_Q)) + 1.0, "MeanR": float(np.mean(ranks_Q)) + 1.0}


def chance_of(relevant_Q: np.ndarray, gallery: int) -> dict[str, float]:
    """Return what lists in random order give on average: the keys of :func:`figures_of`, exactly.

    ``MeanR`` is the mean of (n + 1) / (r + 1); ``MedR`` the first rank that half of the queries would reach.

    Raises:
        ValueError: no query, or a query with fewer than one or more than ``gallery`` relevant items.
    """
    hit_by = first_hit_distribution(relevant_Q, gallery)
    levels = {f"R{depth}": 100.0 * float(hit_by[min(depth, gallery) - 1]) for depth in DEPTHS}
    # 1e-9 forgives the rounding of the running product where the distribution meets one half exactly.
    levels["MedR"] = float(np.argmax(hit_by >= 0.5 - 1e-9)) + 1.0
    levels["MeanR"] = float(np.mean((gallery + 1) / (np.asarray(relevant_Q) + 1)))
    return levels


def first_hit_distribution(relevant_Q: np.ndarray, gallery: int) -> np.ndarray:
    """Return the chance that a random list has a relevant item among its first K, averaged over queries.

    Args:
        relevant_Q: number of relevant items r of each query, [Q].
        gallery: number of items n.

    Returns:
        float64 [n], entry K - 1 for the first K; never falling, ends at 1.

    Raises:
        ValueError: no query, or a count outside 1 to n.
    """
    counts, queries = np.unique(np.asarray(relevant_Q), return_counts=True)
    if not len(counts) or counts[0] < 1 or counts[-1] > gallery:
        raise ValueError(f"each query needs 1 to {gallery} relevant items; found {counts.tolist() or 'no query'}")
    missed = np.zeros(gallery)
    place = np.arange(gallery)
    for relevant, share in zip(counts, queries / queries.sum(), strict=True):
        missed += share * np.cumprod(np.clip(gallery - relevant - place, 0, None) / (gallery - place))
    return 1.0 - missed


def recall_sum(i2t: dict[str, Any], t2i: dict[str, Any]) -> float:
    """Return R@sum: the sum of the six recalls of both directions, 0 to 600."""
    return float(sum(direction[name] for direction in (i2t, t2i) for name in RECALLS))
