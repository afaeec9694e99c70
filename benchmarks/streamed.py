"""An evaluation as the workflow runs it, with drawn maps in the place of encoders: blocks to disk, ranks, all figures.

Shapes: N images, M texts, m maps of an item, d width, K steps.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from benchmarks.child import Peak
from benchmarks.data import matcher_of
from lile.evaluation.blocks import BlockStore
from lile.evaluation.grid import Grid
from lile.evaluation.metrics import fold_metrics
from lile.evaluation.stream import Source, score_blocks
from lile.matching.matcher import IterativeMatching


class Drawn:
    """Maps drawn when they are asked for, the same ones every time.

    Args:
        side: tells images from texts.
        m: maps an item.
        d: width.
        held: so many are drawn at once and kept, as after a whole row of blocks; 0 for none.
    """

    def __init__(self, side: int, m: int, d: int, held: int = 0) -> None:
        self.side, self.m, self.d, self.seconds = side, m, d, 0.0
        self.held = self._drawn(slice(0, held))

    def maps(self, run: slice) -> Tensor:
        """Return maps [n, m, d]; the time it takes is counted apart, since it stands for the encoders'."""
        if run.stop <= len(self.held):
            return self.held[run]
        started = time.perf_counter()
        found = self._drawn(run)
        self.seconds += time.perf_counter() - started
        return found

    def _drawn(self, run: slice) -> Tensor:
        drawn = torch.Generator().manual_seed(run.start * 2 + self.side)
        return torch.randn(run.stop - run.start, self.m, self.d, generator=drawn)


def evaluate(images: int, texts: int, shape: list[int], blocks: int | None = None) -> dict[str, float]:
    """Evaluate drawn maps from the first block to the last figure; runs in a child.

    Args:
        images: N.
        texts: M, at least N: text j belongs to image j modulo N.
        shape: m, d, K.
        blocks: only the first so many blocks, with the maps of all texts held as later blocks would find them, and
            then no ranks; None for all.

    Returns:
        ``seconds`` without the drawing; ``score_seconds`` of them; ``pairs`` scored; ``bytes`` the process came to hold
        beyond its start, and ``total_bytes`` in all.
    """
    matcher = matcher_of(shape[1], shape[2])
    with torch.no_grad():
        warm = torch.randn(2, *shape[:2])
        matcher.scores(warm, warm)  # compiles and loads what is compiled and loaded once
    with tempfile.TemporaryDirectory(prefix="lile-bench-") as folder:
        return _evaluate(matcher, BlockStore(Path(folder) / "blocks", Grid(images, texts)), shape, blocks)


def _evaluate(matcher: IterativeMatching, store: BlockStore, shape: list[int], blocks: int | None) -> dict[str, float]:
    image_ids = [f"image-{i}" for i in range(store.grid.images)]
    text_ids = [f"text-{j}" for j in range(store.grid.texts)]
    sides = [Drawn(side, shape[0], shape[1], held=len(text_ids) if side and blocks else 0) for side in (0, 1)]
    wanted = list(store.grid)[:blocks]
    peak, started = Peak(), time.perf_counter()
    sources = Source(image_ids, sides[0].maps), Source(text_ids, sides[1].maps)
    score_blocks(matcher.scores, *sources, store, wanted, label="bench")
    score_seconds = time.perf_counter() - started
    if blocks is None:
        _figures(store, image_ids, text_ids)
    drawing = sum(side.seconds for side in sides)
    return {
        "seconds": time.perf_counter() - started - drawing,
        "score_seconds": score_seconds - drawing,
        "pairs": sum(block.pairs for block in wanted),
        "bytes": max(1, peak.bytes()),
        "total_bytes": peak.total(),
    }


def _figures(store: BlockStore, image_ids: list[str], text_ids: list[str]) -> None:
    owners = [image_ids[j % len(image_ids)] for j in range(len(text_ids))]
    descriptions = pd.DataFrame({"description_id": text_ids, "image_id": owners, "text_id": text_ids})
    groups = pd.DataFrame({"image_id": image_ids, "group": [f"group-{i // 3}" for i in range(len(image_ids))]})
    fold_metrics(store, image_ids, text_ids, groups, descriptions)
