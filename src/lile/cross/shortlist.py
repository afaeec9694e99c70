"""Which pairs another row puts on its shortlists, and a score matrix in which these pairs were scored again.

Shapes: N images, U texts, R images and C texts of a block, P pairs, n candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lile.evaluation.grid import Block, Grid, Scores


def shortlist_pairs(scores: Scores, top: int) -> np.ndarray:
    """Return the pairs that are among an image's best ``top`` texts or among a text's best ``top`` images.

    Of equal scores the lower place comes first. Reads every block once and holds one row of blocks.

    Args:
        scores: finite scores of N images and U texts, in blocks.
        top: n; where there are fewer candidates, all of them.

    Returns:
        int64 [P, 2]: row and column of each pair, once each, in the order of rows, then columns.
    """
    grid = scores.grid
    best_nU: np.ndarray = np.empty((0, grid.texts))
    images_nU: np.ndarray = np.empty((0, grid.texts), dtype=np.int64)
    codes = []
    for rows in _rows(grid):
        row_R = np.arange(rows.start, rows.stop)
        scores_RU = np.concatenate([scores.read(block) for block in grid if block.rows == rows], axis=1)
        codes.append((row_R[:, None] * grid.texts + _first(-scores_RU, top, axis=1)).ravel())
        # Images seen before stand above, so that of equal scores the lower place stays.
        best_nU = np.concatenate([best_nU, scores_RU])
        images_nU = np.concatenate([images_nU, np.broadcast_to(row_R[:, None], scores_RU.shape)])
        places_nU = _first(-best_nU, top, axis=0)
        best_nU, images_nU = (np.take_along_axis(one, places_nU, axis=0) for one in (best_nU, images_nU))
    codes.append((images_nU * grid.texts + np.arange(grid.texts)).ravel())
    return np.stack(np.divmod(np.unique(np.concatenate(codes)), grid.texts), axis=1)


def _rows(grid: Grid) -> list[slice]:
    """The runs of images of the grid's rows of blocks."""
    starts = range(0, grid.images, grid.size)
    return [slice(start, min(start + grid.size, grid.images)) for start in starts]


def _first(keys: np.ndarray, count: int, axis: int) -> np.ndarray:
    """Return the places of the ``count`` lowest keys along an axis, the lower place first among equals."""
    order = np.argsort(keys, axis=axis, kind="stable")
    return np.take(order, range(min(count, order.shape[axis])), axis=axis)


def places_of(scores: np.ndarray) -> np.ndarray:
    """Map finite float32 scores into (0, 1), strictly monotone: equal where they are equal, else in their order.

    A squashing function such as the sigmoid would make ties: far from zero it is flatter than float32 is fine. This
    takes the scores' own bits. As an integer, the pattern of a float32 rises with a positive number and falls with a
    negative one, so turning the latter round gives each float32 its place among all 2**32. A float64 holds that place
    exactly.

    Returns:
        float64, of the same shape.
    """
    bits = np.ascontiguousarray(scores + np.float32(0), dtype=np.float32).view(np.int32).astype(np.int64)  # -0.0 is 0.0
    places = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    return (places + 2.0**31 + 0.5) / 2.0**32


@dataclass(frozen=True)
class Reranked:
    """One finite score matrix out of two rows: the base row's, with the pairs of its shortlists scored again.

    A pair that was scored again has ``1 + place(match logit)``, any other has ``place(base score)``, where ``place`` is
    :func:`places_of`. So pairs that were scored again stand before all others, and among themselves in the order of
    their logits; the others keep the order of the base row, and no tie appears that was not there. (The sigmoid of the
    logit has the same order, but ties confident logits in any float format.)

    Read block by block like any scores, in float64; nothing is stored twice.
    """

    base: Scores
    """Finite float32 scores of N images and U texts."""
    pairs_P2: np.ndarray
    """Rows and columns scored again, in the order of :func:`shortlist_pairs`."""
    logits_P: np.ndarray
    """Finite match logits, float32."""

    @property
    def grid(self) -> Grid:
        """Its blocks are the base row's."""
        return self.base.grid

    @cached_property
    def _places_P(self) -> np.ndarray:
        return 1.0 + places_of(self.logits_P)

    def read(self, block: Block) -> np.ndarray:
        """Return the block's final scores, float64 [R, C]."""
        scores_RC = places_of(self.base.read(block))
        rows_P, columns_P = self.pairs_P2[:, 0], self.pairs_P2[:, 1]
        first, last = np.searchsorted(rows_P, (block.rows.start, block.rows.stop))
        inside = (columns_P[first:last] >= block.columns.start) & (columns_P[first:last] < block.columns.stop)
        some = np.flatnonzero(inside) + first
        scores_RC[rows_P[some] - block.rows.start, columns_P[some] - block.columns.start] = self._places_P[some]
        return scores_RC
