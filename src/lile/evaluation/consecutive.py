"""``own`` within consecutive blocks of test images, averaged: how MS-COCO's 1K figures are made.

The first n test images in the order of the split, with all their descriptions, are one gallery, the next n another,
and so on; every figure is the mean over these galleries. Images at the end that fill no block are left out. Source:
PAPER.md section 6 (COCO 1K = mean over five consecutive blocks of 1,000 test images).

Shapes: C texts of a block of images, D descriptions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lile.errors import InputError
from lile.evaluation.grid import Block, Grid, Scores
from lile.evaluation.protocols import figures_of_scores
from lile.evaluation.relevance import Relevance


@dataclass(frozen=True)
class Part:
    """The scores of neighbouring images and some texts, read from the blocks of the whole matrix."""

    whole: Scores
    rows: slice
    """Its images."""
    columns_C: np.ndarray
    """Its texts, rising."""

    @cached_property
    def grid(self) -> Grid:
        """Its own blocks, as large as those of the whole."""
        return Grid(self.rows.stop - self.rows.start, len(self.columns_C), self.whole.grid.size)

    def read(self, block: Block) -> np.ndarray:
        """Return the scores of one of its blocks."""
        first = self.rows.start + block.rows.start
        rows = slice(first, first + block.shape[0])
        columns = self.columns_C[block.columns]
        parts: dict[int, list[np.ndarray]] = {}
        for source in self.whole.grid.within(rows, slice(int(columns[0]), int(columns[-1]) + 1)):
            mine = columns[slice(*np.searchsorted(columns, (source.columns.start, source.columns.stop)))]
            if len(mine):
                from_row, to_row = max(rows.start, source.rows.start), min(rows.stop, source.rows.stop)
                held = self.whole.read(source)[from_row - source.rows.start : to_row - source.rows.start]
                parts.setdefault(source.row, []).append(held[:, mine - source.columns.start])
        return np.concatenate([np.concatenate(row, axis=1) for row in parts.values()])


def check_block_images(block_images: int | None, images: int) -> None:
    """Check that the test images fill a block.

    Raises:
        InputError: they do not.
    """
    if block_images is not None and images < block_images:
        raise InputError(
            f"evaluation.block_images={block_images}: the fold has only {images} test images, which fill no block; "
            "give the dataset a lower number, or null for no blocks"
        )


def block_figures(scores: Scores, relevance: Relevance, block_images: int) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the figures of ``own`` averaged over consecutive blocks of images, and how many blocks there are.

    Args:
        scores: of the whole fold, finite; images in the order of the split.
        relevance: of the whole fold.
        block_images: number of images of a block. Their descriptions may be of any number.

    Returns:
        As one protocol of :func:`lile.evaluation.protocols.figures_of_scores`; and ``{"images": block_images,
        "count": blocks, "left_out": images at the end that fill no block}``.

    Raises:
        InputError: see :func:`check_block_images`.
    """
    images = scores.grid.images
    check_block_images(block_images, images)
    count, left_out = divmod(images, block_images)
    found = []
    for first in range(0, count * block_images, block_images):
        part, related = _part(scores, relevance, slice(first, first + block_images))
        found.append(figures_of_scores(part, related).protocols["own"])
    return mean_of(found), {"images": block_images, "count": count, "left_out": left_out}


def mean_of(contents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return nested mappings of numbers, alike in their keys, as one: each number is the mean."""
    return {
        key: mean_of([content[key] for content in contents])
        if isinstance(value, Mapping)
        else float(np.mean([content[key] for content in contents]))
        for key, value in contents[0].items()
    }


def _part(scores: Scores, relevance: Relevance, rows: slice) -> tuple[Part, Relevance]:
    """Return the scores of these images with their own descriptions, and what is relevant there."""
    image_D = relevance.description_codes["own"]
    mine_D = (image_D >= rows.start) & (image_D < rows.stop)
    columns_C, column_D = np.unique(relevance.column_D[mine_D], return_inverse=True)
    related = Relevance(
        column_D=column_D,
        image_codes={"own": np.arange(rows.stop - rows.start)},
        description_codes={"own": image_D[mine_D] - rows.start},
    )
    return Part(scores, rows, columns_C), related
