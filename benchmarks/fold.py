"""Section 5: an ARCH fold's evaluation end to end, and the memory of a large archive's.

Shapes: m maps of an item, d width, K steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from benchmarks import forms
from benchmarks.child import in_child
from benchmarks.data import maps, matcher_of
from benchmarks.harness import Options, Result, Row, Spread, seconds_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPE = [16, 1024, 2]  # m, d, K
ARCH = (1516, 2790)  # images and descriptions of one fold
LARGE = (5000, 25000)  # COCO's 5,000 images
FEW_MAPS = [2, 64, 2]  # with these the large one runs to its end in minutes
GIB = 1 << 30


def measure(options: Options) -> Result:
    """Evaluate the fold, with the direct form measured before and after it; then the large archive's memory."""
    arch, large, shape = ((6, 12), (8, 24), [4, 32, 2]) if options.tiny else (ARCH, LARGE, SHAPE)
    limit_s = 8 * options.limit_s
    before = _direct_rate(shape, limit_s, options)
    fold = _evaluation(arch, shape, options)
    after = _direct_rate(shape, limit_s, options)
    rate = fold["pairs"] / fold["seconds"]
    rows = [
        _row("ARCH fold, all of it", arch, shape, fold) | {"times direct": Spread.of(rate / r for r in (before, after))}
    ]
    if options.long:
        rows.append(_row("large, all of it", large, shape, _evaluation(large, shape, options)))
        rows.append(_row("large with few maps, all of it", large, FEW_MAPS, _evaluation(large, FEW_MAPS, options)))
    else:
        rows.append(
            _row("large, one block with all texts held", large, shape, _evaluation(large, shape, options, blocks=1))
        )
    direct_h, large_h = (
        math.prod(size) / per_s / 3600 for size, per_s in ((arch, (before + after) / 2), (large, rate))
    )
    return Result(
        "An evaluation end to end",
        "Drawn maps in the place of a model's; from the first block to the last figure, with blocks on disk, ranks of "
        "both directions and both protocols. `times direct`: pairs/s against the direct form, measured before and "
        "after. `peak GiB` is the whole process, PyTorch and all texts' maps among it.",
        rows,
        draw,
        [
            f"Extrapolated, not run: the direct form would take {direct_h:.2g} h for the ARCH fold.",
            *(
                []
                if options.long
                else [
                    f"Extrapolated from the fold's rate, not run: {large[0]:,} x {large[1]:,} take {large_h:.2g} h; "
                    "--long runs them.",
                ]
            ),
            "Aim: 5,000 x 25,000 within 6 GiB.",
        ],
    )


def _evaluation(
    size: tuple[int, int], shape: Sequence[int], options: Options, blocks: int | None = None
) -> dict[str, float]:
    asked = {"images": size[0], "texts": size[1], "shape": list(shape), "blocks": blocks}
    return in_child("benchmarks.streamed", "evaluate", options, **asked)


def _row(what: str, size: tuple[int, int], shape: Sequence[int], found: dict[str, float]) -> Row:
    return {
        "what": what,
        "images x texts": f"{size[0]:,} x {size[1]:,}",
        "m, d, K": ", ".join(map(str, shape)),
        "scored pairs": int(found["pairs"]),
        "minutes": found["seconds"] / 60,
        "of them scoring": found["score_seconds"] / 60,
        "pairs/s": found["pairs"] / found["seconds"],
        "times direct": None,
        "peak GiB": found["total_bytes"] / GIB,
    }


@torch.no_grad()
def _direct_rate(shape: Sequence[int], limit_s: float, options: Options) -> float:
    """Return the direct form's pairs per second on as many pairs as fit in the limit."""
    m, d, steps = shape
    form = forms.direct(matcher_of(d, steps), maps(16 if options.tiny else 512, m, d), limit_s)
    n, texts = form.fitting(limit_s)
    return n * texts / seconds_of(lambda: form.scores(n, texts))


def draw(figure: Figure, rows: Sequence[Row]) -> None:
    """Draw minutes and memory of each evaluation."""
    labels = [f"{row['what']}\n{row['images x texts']}\nm, d, K = {row['m, d, K']}" for row in rows]
    for axes, column in zip(figure.subplots(1, 2, sharey=True), ("minutes", "peak GiB"), strict=True):
        bars = axes.barh(labels, [row[column] for row in rows])
        axes.bar_label(bars, fmt=" %.3g", fontsize=7)
        axes.set(xlabel=column)
        axes.tick_params(axis="y", labelsize=7)
        axes.margins(x=0.15)
    axes.invert_yaxis()  # of both, which share it
