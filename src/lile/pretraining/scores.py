"""How well a classifier does on pictures it never saw, and how sure that is.

Shapes: N pictures, C classes, G groups, D draws. A confusion matrix has a row for each true class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

COVERAGE = 0.95
Z = 1.959963984540054
"""Of the standard normal distribution, for 95 %."""
DRAWS = 2000
PIECE = 1 << 22
"""Counts held at once: 32 MiB."""


@dataclass(frozen=True)
class Interval:
    """Where a figure may lie."""

    low: float
    high: float
    method: str

    def to_dict(self) -> dict[str, Any]:
        """Return it for a record, its ends rounded to the sixth decimal."""
        return {"low": round(self.low, 6), "high": round(self.high, 6), "method": self.method, "coverage": COVERAGE}


def confusion_of(labels: Sequence[int], predicted: Sequence[int], classes: int) -> np.ndarray:
    """Return how often a picture of class r (row) was taken for class c, int64 ``[C, C]``."""
    matrix_CC = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix_CC, (np.asarray(labels), np.asarray(predicted)), 1)
    return matrix_CC


def accuracy(matrix_CC: np.ndarray) -> float:
    """Return the share of pictures put into their class."""
    return float(np.trace(matrix_CC) / matrix_CC.sum())


def balanced_accuracy(matrix_CC: np.ndarray) -> float:
    """Return the mean over classes of the share put right; classes without a picture do not count."""
    counts_C = matrix_CC.sum(1)
    return float((np.diag(matrix_CC)[counts_C > 0] / counts_C[counts_C > 0]).mean())


def balanced_likelihood(probabilities_NC: np.ndarray, labels: Sequence[int]) -> float:
    """Return the geometric mean of the probability of the right class, 0 to 1; each class counts the same."""
    labels_N = np.asarray(labels)
    logs_N = np.log(probabilities_NC[np.arange(len(labels_N)), labels_N].astype(np.float64).clip(1e-12))
    return float(np.exp(np.mean([logs_N[labels_N == number].mean() for number in np.unique(labels_N)])))


def wilson(right: float, count: int, of: str = "pictures") -> Interval:
    """Return the 95 % interval of a share of things that each stand for themselves (Wilson 1927)."""
    share, scale = right / count, 1 + Z**2 / count
    middle = (share + Z**2 / (2 * count)) / scale
    half = Z / scale * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    # At 0 and 1 an end is the share itself, but for rounding.
    return Interval(max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share)), f"Wilson, {count:,} {of}")


def bootstrap(
    labels: Sequence[int], predicted: Sequence[int], groups: Sequence[str], classes: int, seed: int
) -> tuple[Interval, Interval] | None:
    """Return the 95 % percentile intervals of accuracy and balanced accuracy; groups are drawn again, whole.

    This says how much depends on which slides were held out. Where all draws agree (all right, most often) that is no
    certainty: the interval is then Wilson's, a group counting as one thing. None for one group alone.

    Args:
        labels: true classes, ``[N]``.
        predicted: ``[N]``.
        groups: of each picture.
        classes: C.
        seed: of the draws.
    """
    names, group_N = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        return None
    counts_GC, right_GC = np.zeros((len(names), classes)), np.zeros((len(names), classes))
    np.add.at(counts_GC, (group_N, np.asarray(labels)), 1)
    np.add.at(right_GC, (group_N, np.asarray(labels)), np.asarray(labels) == np.asarray(predicted))
    rng = np.random.default_rng(seed)
    figures_D2 = np.concatenate([_draw(counts_GC, right_GC, size, rng) for size in _pieces(len(names))])
    of = "groups" if len(names) < len(labels) else "pictures"
    return _interval(figures_D2[:, 0], len(names), of), _interval(figures_D2[:, 1], len(names), of)


def _interval(values_D: np.ndarray, things: int, of: str) -> Interval:
    """Return the central 95 % of the draws, or Wilson's interval where they have no width."""
    low, high = np.quantile(values_D, ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2))
    if low == high:
        return wilson(float(low) * things, things, of)
    return Interval(float(low), float(high), f"bootstrap of {things:,} {of}")


def _pieces(groups: int) -> list[int]:
    """Divide the draws so that no piece holds more than ``PIECE`` counts."""
    most = max(1, PIECE // groups)
    return [min(most, DRAWS - start) for start in range(0, DRAWS, most)]


def _draw(counts_GC: np.ndarray, right_GC: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return accuracy and balanced accuracy of some draws, ``[D, 2]``."""
    weights_DG = rng.multinomial(len(counts_GC), np.full(len(counts_GC), 1 / len(counts_GC)), size=draws)
    counts_DC, right_DC = weights_DG @ counts_GC, weights_DG @ right_GC
    # A class that a draw has no picture of does not count in it.
    recalls_DC = np.divide(right_DC, counts_DC, out=np.full_like(right_DC, np.nan), where=counts_DC > 0)
    return np.stack([right_DC.sum(1) / counts_DC.sum(1), np.nanmean(recalls_DC, axis=1)], axis=1)
