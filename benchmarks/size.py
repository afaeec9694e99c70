"""Section 4: what an evaluation costs against its size: linear in time, flat in memory.

Shapes: m maps of an item, d width, K steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.child import in_child
from benchmarks.harness import Options, Result, Row, Spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPE = [4, 64, 2]  # m, d, K: small, so that the largest takes minutes
TEXTS_PER_IMAGE = 5
POWERS, LONG_POWERS, ONCE = (4, 5, 6, 7), (8,), 8  # pairs, powers of ten; from ONCE on measured once
REFERENCE = 7  # the size that rate and memory are compared with: the first of whole blocks
MIB = 1 << 20


def measure(options: Options) -> Result:
    """Evaluate growing archives, each in a process of its own, in rounds."""
    powers = (2, 3) if options.tiny else POWERS + (LONG_POWERS if options.long else ())
    reference = powers[-1] if options.tiny else REFERENCE
    found: dict[int, list[dict[str, float]]] = {power: [] for power in powers}
    for number in range(options.repeats):
        for power in powers:
            if number == 0 or power < ONCE:
                n, m = sides(10**power)
                asked = {"images": n, "texts": m, "shape": [2, 8, 2] if options.tiny else SHAPE}
                found[power].append(in_child("benchmarks.streamed", "evaluate", options, **asked))
    rows = [_row(power, found[power], found[reference]) for power in powers]
    return Result(
        "Cost against size",
        f"An evaluation as the workflow runs it (blocks to disk, ranks of both directions and protocols, all figures), "
        f"with drawn maps (m = {SHAPE[0]}, d = {SHAPE[1]}, K = {SHAPE[2]}) and {TEXTS_PER_IMAGE} texts an image. "
        f"`rate` and `memory` are against 10^{reference} pairs in the same round; `peak MiB` is beyond what the "
        "process held before, `matrix MiB` what the full matrix of scores would take.",
        rows,
        draw,
        [
            "Time holds the estimate that is made before scoring, and what is loaded once; both weigh on small sizes.",
            "Memory grows to the first whole block of scores and no further, but for the texts' maps and the ids.",
            *([] if options.long else ["10^8 pairs are measured with --long."]),
        ],
    )


def sides(pairs: int) -> tuple[int, int]:
    """Return N and M with about so many pairs."""
    images = max(1, round(math.sqrt(pairs / TEXTS_PER_IMAGE)))
    return images, images * TEXTS_PER_IMAGE


def _row(power: int, own: Sequence[dict[str, float]], reference: Sequence[dict[str, float]]) -> Row:
    n, m = sides(10**power)
    rates = [step["pairs"] / step["seconds"] for step in own]
    base = [step["pairs"] / step["seconds"] for step in reference]
    return {
        "pairs": n * m,
        "images x texts": f"{n:,} x {m:,}",
        "seconds": Spread.of(step["seconds"] for step in own),
        "pairs/s": Spread.of(rates),
        "rate": Spread.of(a / b for a, b in zip(rates, base, strict=False)),
        "peak MiB": Spread.of(step["bytes"] / MIB for step in own),
        "memory": Spread.of(a["bytes"] / b["bytes"] for a, b in zip(own, reference, strict=False)),
        "matrix MiB": 4 * n * m / MIB,
    }


def draw(figure: Figure, rows: Sequence[Row]) -> None:
    """Draw time and memory over the number of pairs."""
    left, right = figure.subplots(1, 2)
    pairs = [row["pairs"] for row in rows]
    seconds = [row["seconds"].median for row in rows]
    left.plot(pairs, seconds, marker="o", label="measured")
    left.plot(pairs, [seconds[-1] * p / pairs[-1] for p in pairs], "--", color="0.5", label="linear")
    right.plot(pairs, [row["peak MiB"].median for row in rows], marker="o", label="measured")
    right.plot(pairs, [row["matrix MiB"] for row in rows], "--", color="0.5", label="the full matrix")
    for axes, label in ((left, "seconds"), (right, "peak MiB")):
        axes.set(xscale="log", yscale="log", xlabel="pairs", ylabel=label)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize=7)
