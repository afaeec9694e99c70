"""All pairs in plain PyTorch: on any device and in any precision, tile by tile.

Shapes: N images, M texts.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from lile.matching.config import MatchingConfig
from lile.matching.memory import GatedMemory
from lile.matching.sides import Side
from lile.matching.steps import cross_term

TILE_FLOATS = 1 << 17  # floats of one [tile, r, d] tensor: 512 KiB, so that a tile stays in a core's cache
GPU_TILE_FLOATS = 1 << 26  # the same on a GPU, which wants large products: 256 MiB


def tiles(count: int, floats_each: int, budget: int) -> Iterator[slice]:
    """Yield slices that cover ``count`` items of ``floats_each`` numbers, each of about ``budget`` numbers."""
    size = max(1, budget // max(1, floats_each))
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def add_cross(
    scores_NM: Tensor, queries: Side, contexts: Side, memory: GatedMemory | None, steps: int, config: MatchingConfig
) -> None:
    """Add one direction's cross term of every pair to ``scores_NM`` [queries, contexts], in place, without a graph.

    One context item at a time against tiles of queries that stay in cache: several times faster on a CPU than one
    large batched product.
    """
    budget = GPU_TILE_FLOATS if scores_NM.is_cuda else TILE_FLOATS
    for tile in tiles(len(queries), queries.vectors[0].numel() if len(queries) else 1, budget):
        for j in range(len(contexts)):
            scores_NM[tile, j] += cross_term(queries[tile], contexts[j], memory, steps, config)
