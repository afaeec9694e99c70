"""What all sections share: options, timing by turns, and the shape of a result.

The machine is noisy, so nothing is compared across runs: what is compared takes turns (A, B, A, B, ..), each round
gives a ratio, and a result states the median of the rounds' ratios with the lowest and the highest.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Options:
    """How much is measured."""

    threads: int
    """Threads of PyTorch and of the engine."""
    tiny: bool = False
    """Sizes for a test of the benchmark itself: its figures mean nothing."""
    long: bool = False
    """Also what takes many minutes."""
    repeats: int = 3
    """Rounds of a comparison."""

    @property
    def limit_s(self) -> float:
        """Seconds that one measurement may take: long against the clock, short against a coffee."""
        return 0.02 if self.tiny else 1.0


@dataclass(frozen=True)
class Spread:
    """A measured number over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of at least one finite number."""
        found = list(values)
        assert found, "nothing was measured"
        assert all(math.isfinite(value) for value in found), found
        return cls(statistics.median(found), min(found), max(found))


Row = dict[str, Any]
"""Column -> text, number, :class:`Spread`, or None where there is nothing to say. The rows of a table share columns."""


@dataclass(frozen=True)
class Result:
    """What a section found."""

    title: str
    about: str
    """What was compared with what, in sentences."""
    rows: Sequence[Row]
    draw: Callable[[Figure, Sequence[Row]], None]
    """Draws the rows into an empty figure."""
    notes: Sequence[str] = field(default=())
    """Sentences under the table."""


def seconds_of(work: Callable[[], Any]) -> float:
    """Return the seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def by_turns(works: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each work in each round; in every round all works run once, in the same order."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            seconds[name].append(seconds_of(work))
    return seconds


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Return the ratio of two measurements, round by round."""
    return Spread.of(a / b for a, b in zip(above, below, strict=True))


@dataclass(frozen=True)
class Form:
    """A way to compute all scores of N images with M texts."""

    name: str
    scores: Callable[[int, int], torch.Tensor]
    """(N, M) -> [N, M]: of the case's first N images and first M texts."""
    sizes: Sequence[tuple[int, int]]
    """(N, M) that may be measured, growing."""

    def fitting(self, limit_s: float) -> tuple[int, int]:
        """Return the largest size that is expected to take at most ``limit_s``, tried from the smallest on."""
        self.scores(*self.sizes[0])  # compiles what is compiled once
        for size, larger in zip(self.sizes, [*self.sizes[1:], None], strict=True):
            seconds = seconds_of(partial(self.scores, *size))
            if larger is None or seconds * math.prod(larger) / math.prod(size) > limit_s:
                return size
        raise AssertionError("there is no size")
