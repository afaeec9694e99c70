"""Section 6: what bfloat16 on the CPU would do to scores, recalls and speed. It decides whether it is offered.

Shapes: N images and texts, m maps of an item, d width, K steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks import forms
from benchmarks.data import Data, maps, matcher_of
from benchmarks.harness import Form, Options, Result, Row, Spread, by_turns, ratios
from benchmarks.machine import processor_flags
from lile.evaluation.recalls import figures_of
from lile.matching.steps import cross_term

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from lile.matching.matcher import IterativeMatching

CASES = ((16, 1024, 1, 4.0), (16, 1024, 2, 4.0), (8, 256, 2, 2.6))  # m, d, K, noise: about half of the items are found
ITEMS, ITEMS_LONG = 128, 512


def measure(options: Options) -> Result:
    """Measure each case: scores, recalls, and speed by turns."""
    rows: list[Row] = []
    for m, d, steps, noise in ((4, 32, 2, 1.5),) if options.tiny else CASES:
        rows += _rows(m, d, steps, noise, options)
    flags = sorted(processor_flags() & {"avx512_bf16", "amx_bf16"})
    return Result(
        "bfloat16 on the CPU",
        "`engine, maps rounded`: the maps are rounded to bfloat16, all else is float32. `plain PyTorch, bfloat16`: "
        "maps, gates and matrix products in bfloat16; the lengths of attended vectors in float64 as ever. `off` is the "
        "largest difference from the engine's float32 scores, `off / spread` that over the standard deviation of all "
        "scores, `first changed` the percent of queries (both directions) with another first item. Recalls are of the "
        f"{_items(options)} true pairs of drawn items, the mean of both directions, in percent.",
        rows,
        draw,
        [f"The processor {'has ' + ' and '.join(flags) if flags else 'has no instructions for bfloat16'}."]
        + ([] if options.long else [f"--long takes {ITEMS_LONG} items."]),
    )


@torch.no_grad()
def _rows(m: int, d: int, steps: int, noise: float, options: Options) -> list[Row]:
    items = 32 if options.tiny else _items(options)
    matcher, data = matcher_of(d, steps), maps(items, m, d, noise=noise)
    low_matcher, low = matcher_of(d, steps).bfloat16(), Data(data.images.bfloat16(), data.texts.bfloat16())
    rounded = Data(low.images.float(), low.texts.float())
    exact = matcher.scores(data.images, data.texts)
    plain, plain_low = forms.eager(matcher, data), Form("", partial(_low_scores, low_matcher, low), forms.SQUARES)
    works: dict[str, Callable[[int, int], Tensor]] = {
        "engine": forms.engine(matcher, data).scores,
        "engine, maps rounded": forms.engine(matcher, rounded).scores,
        "plain PyTorch": plain.scores,
        "plain PyTorch, bfloat16": plain_low.scores,
    }
    n, _ = Form("", plain.scores, [size for size in forms.SQUARES if max(size) <= items]).fitting(options.limit_s)
    seconds = by_turns({name: partial(scores, n, n) for name, scores in works.items()}, options.repeats)
    return [
        {
            "m, d, K": f"{m}, {d}, {steps}",
            "form": name,
            **_effect(scores(items, items).float(), exact),
            "scored": f"{n} x {n}",
            "pairs/s": Spread.of(n * n / s for s in seconds[name]),
            "times plain": ratios(seconds["plain PyTorch"], seconds[name]),
            "times engine": ratios(seconds["engine"], seconds[name]),
        }
        for name, scores in works.items()
    ]


def _low_scores(matcher: IterativeMatching, data: Data, n: int, m: int) -> Tensor:
    return forms.eager_scores(matcher, data, n, m, cross_term)


def _items(options: Options) -> int:
    return ITEMS_LONG if options.long else ITEMS


def _effect(scores_NN: Tensor, exact_NN: Tensor) -> Row:
    """Return how far scores are off, and what it does to what is found."""
    off = float((scores_NN - exact_NN).abs().max())
    changed = [(scores_NN.argmax(dim) != exact_NN.argmax(dim)).float().mean() for dim in (0, 1)]
    figures = [figures_of(_ranks(scores)) for scores in (scores_NN, scores_NN.T)]
    recalls = {depth: sum(f[depth] for f in figures) / 2 for depth in ("R1", "R5", "R10")}
    return {
        "off": off,
        "off / spread": off / float(exact_NN.std()),
        "first changed": 50 * float(sum(changed)),
        **recalls,
    }


def _ranks(scores_NN: Tensor) -> np.ndarray:
    """Return the 0-based rank of each row's own column; a tie counts against it."""
    return ((scores_NN >= scores_NN.diagonal()[:, None]).sum(1) - 1).numpy()


def draw(figure: Figure, rows: Sequence[Row]) -> None:
    """Draw what is found and how fast, for each form."""
    cases = list(dict.fromkeys(row["m, d, K"] for row in rows))
    names = list(dict.fromkeys(row["form"] for row in rows))
    height = 0.8 / len(names)
    for axes, column in zip(figure.subplots(1, 2, sharey=True), ("R1", "times plain"), strict=True):
        for place, name in enumerate(names):
            own = [row[column] for row in rows if row["form"] == name]
            values = [value.median if isinstance(value, Spread) else value for value in own]
            bars = axes.barh([i + (place - 1.5) * height for i in range(len(cases))], values, height, label=name)
            axes.bar_label(bars, fmt=" %.3g", fontsize=6)
        axes.set(xlabel={"R1": "R@1, percent", "times plain": "pairs/s, times plain PyTorch in float32"}[column])
        axes.set_yticks(range(len(cases)), [f"m, d, K = {case}" for case in cases], fontsize=7)
        axes.margins(x=0.15)
    axes.set(xscale="log")
    axes.legend(fontsize=6)
