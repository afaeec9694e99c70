"""Scores of every image with every text, block by block onto disk; a killed run goes on after its last whole block.

Shapes: R images and C texts of a block.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor

from lile.evaluation.blocks import BlockStore
from lile.evaluation.estimate import Progress, log_estimate
from lile.evaluation.grid import Block, check_finite

log = logging.getLogger(__name__)


Sides = Any
"""Encoded items: a tensor whose rows they are, or an :class:`lile.models.encoded.Encoded`."""


@dataclass(frozen=True)
class Source:
    """One side of what is scored."""

    ids: Sequence[str]
    """Ids of all items."""
    maps: Callable[[slice], Sides]
    """Gives the vectors of a run of n items; called once for each run that is needed."""


@torch.no_grad()
def score_blocks(
    score: Callable[[Sides, Sides], Tensor],
    images: Source,
    texts: Source,
    store: BlockStore,
    blocks: Sequence[Block] | None = None,
    *,
    label: str = "scoring",
) -> None:
    """Compute the blocks that ``store`` does not hold, and keep each there when it is finished.

    In memory are the vectors of all texts that are needed and of one block's images, and what ``score`` needs for one
    block: never the score matrix, and never the vectors of all images.

    Args:
        score: R encoded images, C encoded texts -> S [R, C]; :meth:`lile.evaluation.score.Scorer.scores`.
        images: rows of the matrix.
        texts: columns.
        store: where the blocks are kept, with the grid of ``images`` x ``texts``.
        blocks: which blocks; None for all.
        label: what the progress bar and messages call this.

    Raises:
        InputError: a score that is not finite (the pair is named; the block is not kept), or too little disk.
        OSError: a block cannot be written.
    """
    assert (store.grid.images, store.grid.texts) == (len(images.ids), len(texts.ids))
    wanted = list(store.grid) if blocks is None else list(blocks)
    missing = [block for block in wanted if not store.holds(block)]
    if len(missing) < len(wanted):
        log.info("%s: %d of %d blocks are finished already", label, len(wanted) - len(missing), len(wanted))
    if not missing:
        return

    @lru_cache(maxsize=1)  # blocks come row by row
    def image_maps(first: int, last: int) -> Sides:
        return images.maps(slice(first, last))

    @cache  # every row needs all texts again
    def text_maps(first: int, last: int) -> Sides:
        return texts.maps(slice(first, last))

    def sides(block: Block) -> tuple[Sides, Sides]:
        rows, columns = block.rows, block.columns
        return image_maps(rows.start, rows.stop), text_maps(columns.start, columns.stop)

    log_estimate(label, score, *sides(missing[0]), missing, store.folder)
    with Progress(label, sum(block.pairs for block in missing)) as progress:
        for block in missing:
            scores_RC = score(*sides(block)).cpu().numpy()
            check_finite(scores_RC, images.ids, texts.ids, block)
            store.write(block, scores_RC)
            progress.update(block.pairs)
