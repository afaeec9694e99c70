"""The score matrix cut into blocks on a fixed grid.

Shapes: N images, U unique texts (score columns), R images and C texts of one block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from lile.errors import InputError

BLOCK = 1024
"""Images and texts of one block, a multiple of what is encoded at a time. Never derived from jobs, threads or memory:
the last bits of a score may depend on what is computed together, so how the work is divided must not change it."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block of the grid."""

    row: int
    column: int
    rows: slice
    """Its images."""
    columns: slice
    """Its texts."""

    @property
    def name(self) -> str:
        """What its file is called."""
        return f"block-{self.row}-{self.column}.npy"

    @property
    def shape(self) -> tuple[int, int]:
        """R and C."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def pairs(self) -> int:
        """Number of scores."""
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True)
class Grid:
    """Blocks of at most ``size`` x ``size`` that cover a matrix of scores, in the order of rows.

    Raises:
        InputError: a side or the size is below one.
    """

    images: int
    texts: int
    size: int = field(default_factory=lambda: BLOCK)

    def __post_init__(self) -> None:
        for name in ("images", "texts", "size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)}: a grid of score blocks needs at least 1")

    def __len__(self) -> int:
        return -(-self.images // self.size) * self._columns

    def __iter__(self) -> Iterator[Block]:
        return (self.block(index) for index in range(len(self)))

    @property
    def _columns(self) -> int:
        return -(-self.texts // self.size)

    def block(self, index: int) -> Block:
        """Return the block number ``index``, from 0. Raises :class:`InputError` where there is none."""
        if not 0 <= index < len(self):
            raise InputError(
                f"index={index}: {self.images} x {self.texts} scores have blocks 0 to {len(self) - 1} "
                f"of {self.size} x {self.size}"
            )
        row, column = divmod(index, self._columns)
        return Block(row, column, self._run(row, self.images), self._run(column, self.texts))

    def within(self, rows: slice, columns: slice) -> Iterator[Block]:
        """Yield the blocks that hold a pair of these images and texts, in the order of rows."""
        for row in range(rows.start // self.size, -(-rows.stop // self.size)):
            for column in range(columns.start // self.size, -(-columns.stop // self.size)):
                yield self.block(row * self._columns + column)

    def share(self, share: int, shares: int) -> list[Block]:
        """Return the blocks of job ``share`` of ``shares``: neighbours in the order of rows, as many as others get.

        Raises:
            InputError: ``shares`` is below one, or ``share`` is not from 0 to ``shares`` - 1.
        """
        if shares < 1:
            raise InputError(f"shares={shares}: expected at least 1")
        if not 0 <= share < shares:
            raise InputError(f"share={share}: {shares} share(s) are numbered 0 to {shares - 1}")
        first, last = (len(self) * place // shares for place in (share, share + 1))
        return [self.block(index) for index in range(first, last)]

    def _run(self, place: int, length: int) -> slice:
        return slice(place * self.size, min((place + 1) * self.size, length))


class Scores(Protocol):
    """A score matrix that is read block by block, as often as it takes."""

    @property
    def grid(self) -> Grid:
        """Its blocks."""

    def read(self, block: Block) -> np.ndarray:
        """Return the block's scores, [R, C]."""


@dataclass(frozen=True)
class Matrix:
    """A score matrix held in memory, to be read in blocks."""

    scores_NU: np.ndarray

    @cached_property
    def grid(self) -> Grid:
        """Its blocks."""
        return Grid(*self.scores_NU.shape)

    def read(self, block: Block) -> np.ndarray:
        """Return the block's scores, [R, C], without a copy."""
        return self.scores_NU[block.rows, block.columns]


def check_finite(
    scores_RC: np.ndarray, image_ids: Sequence[str], text_ids: Sequence[str], block: Block | None = None
) -> None:
    """Check that every score is finite.

    Args:
        scores_RC: the scores of ``block``, or of all pairs.
        image_ids: of all rows of the matrix.
        text_ids: of all columns.
        block: where the scores stand in the matrix.

    Raises:
        InputError: naming the first image and text whose score is not.
    """
    finite = np.isfinite(scores_RC)
    if finite.all():
        return
    row, column = (int(place) for place in np.argwhere(~finite)[0])
    first_row, first_column = (block.rows.start, block.columns.start) if block else (0, 0)
    raise InputError(
        f"evaluation: the score of image {image_ids[first_row + row]!r} and text {text_ids[first_column + column]!r} "
        f"is {scores_RC[row, column]}, which cannot be ranked; training diverged or its input is damaged: "
        "look at history.jsonl and lower training.learning_rate"
    )
