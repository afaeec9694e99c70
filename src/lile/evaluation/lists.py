"""Whole lists of scores, a batch of queries at a time: what figures of the full order and run files are made from.

Shapes: N images, U unique texts (score columns), D descriptions, Q queries of a batch, G gallery items.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lile.evaluation.grid import Scores
from lile.evaluation.relevance import Relevance

LIST_PAIRS = 1 << 21  # scores of one batch: 8 MiB in single precision, and as much for each of a few copies


def query_lists(scores: Scores, relevance: Relevance, way: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (queries [Q], the scores of all their gallery [Q, G]), each query of a direction once.

    Args:
        scores: blocks of the matrix [N, U]; the matrix is never held as a whole.
        relevance: says which score column each description has.
        way: ``i2t``: queries are images (in order), gallery the D descriptions. ``t2i``: queries are descriptions (in
            the order of their texts), gallery the N images.
    """
    return _of_images(scores, relevance) if way == "i2t" else _of_descriptions(scores, relevance)


def _of_images(scores: Scores, relevance: Relevance) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    grid = scores.grid
    for rows in _runs(grid.images, grid.size):
        blocks = list(grid.within(rows, slice(0, grid.texts)))
        for run in _runs(rows.stop - rows.start, LIST_PAIRS // len(relevance.column_D)):
            # Copies, since a part of an array keeps the whole of it in memory.
            scores_QU = np.concatenate([scores.read(block)[run].copy() for block in blocks], axis=1)
            yield np.arange(rows.start + run.start, rows.start + run.stop), scores_QU[:, relevance.column_D]


def _of_descriptions(scores: Scores, relevance: Relevance) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    grid = scores.grid
    order_D = np.argsort(relevance.column_D, kind="stable")
    columns_D = relevance.column_D[order_D]
    for columns in _runs(grid.texts, grid.size):
        first, last = np.searchsorted(columns_D, (columns.start, columns.stop))
        blocks = list(grid.within(slice(0, grid.images), columns))
        for run in _runs(int(last - first), LIST_PAIRS // grid.images):
            queries = order_D[first:last][run]
            places = relevance.column_D[queries] - columns.start
            scores_NQ = np.concatenate([scores.read(block)[:, places] for block in blocks])
            yield queries, np.ascontiguousarray(scores_NQ.T)


def _runs(length: int, step: int) -> Iterator[slice]:
    """Yield runs of at most ``step`` items that cover ``length``; of one item where ``step`` is less."""
    step = max(1, step)
    return (slice(start, min(start + step, length)) for start in range(0, length, step))
