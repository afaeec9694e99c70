"""What scoring will cost, said before it starts, and how far it is, while it runs.

R images and C texts of a block come encoded: tensors whose rows they are, or ``lile.models.encoded.Encoded``.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import Tensor
from tqdm import tqdm

from lile.errors import InputError
from lile.evaluation.grid import Block

log = logging.getLogger(__name__)

WORTH_MEASURING = 1 << 18  # fewer pairs are scored before their time is estimated
LONG_ENOUGH_S = 0.5  # a measurement of this length is trusted
HALVES = 12  # times its own maps that a block took while it was scored, on a CPU at K = 2 (measured)
REPORT_S = 60.0  # a log file gets a line this often

GIB = 1 << 30


def log_estimate(
    label: str,
    score: Callable[[Any, Any], Tensor],
    images_R: Any,
    texts_C: Any,
    blocks: Sequence[Block],
    folder: Path,
) -> None:
    """Log the number of pairs, the rate and time expected, memory and disk.

    Args:
        label: what is scored.
        score: as :func:`lile.evaluation.stream.score_blocks` takes it; is tried on a part of the two sides.
        images_R: vectors of the first block's images.
        texts_C: vectors of its texts.
        blocks: all that will be computed.
        folder: where they are kept.

    Raises:
        InputError: the disk has too little room for the blocks.
    """
    pairs = sum(block.pairs for block in blocks)
    texts = sum({block.columns.start: block.shape[1] for block in blocks}.values())
    side = max(sum(block.shape) for block in blocks)
    item_bytes = images_R.nbytes // len(images_R)
    memory = item_bytes * (texts + len(images_R) + HALVES * side)
    disk = _room(folder, 4 * pairs)
    where = "GPU memory" if images_R.is_cuda else "memory"
    log.info(
        "%s: %s pairs in %d block(s)%s; %.1f GiB of %s for vectors and one block, %.2f GiB of disk in %s",
        label, f"{pairs:,}", len(blocks), _expected(score, images_R, texts_C, blocks), memory / GIB, where,
        disk / GIB, folder,
    )  # fmt: skip


def _expected(score: Callable[[Any, Any], Tensor], images_R: Any, texts_C: Any, blocks: Sequence[Block]) -> str:
    """Return the words about time: none where measuring would take longer than it is worth."""
    pairs = sum(block.pairs for block in blocks)
    if pairs < WORTH_MEASURING:
        return ""
    per_item, per_pair = measured_cost(score, images_R, texts_C)
    seconds = sum(per_item * sum(block.shape) + per_pair * block.pairs for block in blocks)
    return f", about {_duration(seconds)} at {pairs / seconds:,.0f} pairs/s"


def measured_cost(score: Callable[[Any, Any], Tensor], images_R: Any, texts_C: Any) -> tuple[float, float]:
    """Return the seconds that ``score`` takes for each item and for each pair, measured on small blocks.

    Items cost what is prepared once for each (R + C of them), pairs the rest. Two sizes tell the two apart. They
    grow until a measurement is long enough to be trusted; on a GPU that may be a whole block.
    """
    size, last = 32, None
    score(images_R[:size], texts_C[:size]).cpu()  # what is compiled or loaded once is no part of the rate
    while True:
        rows, columns = images_R[:size], texts_C[:size]
        started = time.perf_counter()
        score(rows, columns).cpu()
        now = (time.perf_counter() - started, len(rows) + len(columns), len(rows) * len(columns))
        long_enough = last is not None and now[0] >= LONG_ENOUGH_S
        if long_enough or size >= max(len(images_R), len(texts_C)):
            return _split(last, now)
        size, last = size * 2, now


def _split(small: tuple[float, int, int] | None, large: tuple[float, int, int]) -> tuple[float, float]:
    """Solve seconds = items * x + pairs * y from two measurements (seconds, items, pairs); never negative."""
    if small is not None:
        scale = large[1] / small[1]
        pairs = large[2] - scale * small[2]
        per_pair = (large[0] - scale * small[0]) / pairs if pairs > 0 else 0.0
        per_item = (large[0] - per_pair * large[2]) / large[1]
        if per_pair > 0 and per_item >= 0:
            return per_item, per_pair
    return 0.0, large[0] / large[2]


def _room(folder: Path, needed: int) -> int:
    """Return the bytes needed, if the disk under ``folder`` has them."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise InputError(
            f"{folder}: the score blocks need {needed / GIB:.2f} GiB of disk, {free / GIB:.2f} GiB are free; "
            "make room, or make work/ a link to a larger disk"
        )
    return needed


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class Progress:
    """A bar with pairs/s and time left on a terminal; elsewhere a line in the log every minute.

    Args:
        label: what is scored.
        pairs: how many there are to score.
    """

    def __init__(self, label: str, pairs: int) -> None:
        self.label, self.pairs, self.done = label, pairs, 0
        self.started = self.reported = time.perf_counter()
        self.bar = tqdm(total=pairs, desc=label, unit="pair", unit_scale=True, disable=None, mininterval=1)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the bar; say how fast it was."""
        self.bar.close()
        if error is None:
            seconds = time.perf_counter() - self.started
            rate = self.done / max(seconds, 1e-9)
            log.info("%s: %s pairs in %s, %s pairs/s", self.label, f"{self.done:,}", _duration(seconds), f"{rate:,.0f}")

    def update(self, pairs: int) -> None:
        """Count pairs that are finished."""
        self.done += pairs
        self.bar.update(pairs)
        now = time.perf_counter()
        if self.bar.disable and now - self.reported >= REPORT_S and self.done < self.pairs:
            self.reported, rate = now, self.done / (now - self.started)
            log.info(
                "%s: %.0f%% of %s pairs, %s pairs/s, %s left",
                self.label, 100 * self.done / self.pairs, f"{self.pairs:,}", f"{rate:,.0f}",
                _duration((self.pairs - self.done) / rate),
            )  # fmt: skip
