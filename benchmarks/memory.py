"""Section 8: what a training holds in memory against the size of its stores: flat.

Shapes: n images, L regions of an image, H their width, m maps, d joint width.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.child import in_child
from benchmarks.harness import Options, Result, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LENGTH, WIDTH, BATCH, SHAPE = 36, 2048, 128, [16, 1024]  # COCO's regions; m, d
IMAGES, COCO = (1_000, 8_000), 113_287
TRAINED = 2  # batches
MIB, GB = 1 << 20, 1e9
CHILD = "benchmarks.memory_child"


def measure(options: Options) -> Result:
    """Write stores of growing size and read an epoch of each, one at a time: a store is removed after its turn."""
    length, width, batch, shape = (3, 8, 4, [2, 8]) if options.tiny else (LENGTH, WIDTH, BATCH, SHAPE)
    sizes = (4, 12) if options.tiny else IMAGES + ((COCO,) if options.long else ())
    rows: list[Row] = []
    for n in sizes:
        with tempfile.TemporaryDirectory(prefix="lile-bench-") as folder:
            made = in_child(CHILD, "make", options, folder=folder, images=n, length=length, width=width)
            asked = {"images": n, "shape": shape, "batch": batch, "trained": TRAINED, "read": None}
            found = in_child(CHILD, "epoch", options, folder=folder, **asked)
        tokens = 2 * length * width
        rows.append(
            {
                "images": n,
                "captions": 5 * n,
                "store GB": made["bytes"] / GB,
                "written MB/s": tokens * n / made["seconds"] / 1e6,
                "opened MiB": found["held"] / MIB,
                "reading MiB": found["reading"] / MIB,
                "training MiB": found["training"] / MIB,
                "read MB/s": tokens * batch * found["batches"] / found["seconds"] / 1e6,
            }
        )
    return Result(
        "Memory of a training against the size of its stores",
        f"Stores of n x {length} x {width} float16 and five captions an image, tables and all, as the training opens "
        f"them. `opened`: what the whole process holds then. `reading`: its peak while one epoch of random batches of "
        f"{batch} pairs is read. `training`: its peak when it also trains on {TRAINED} batches (m = {shape[0]}, "
        f"d = {shape[1]}, K = 2, no encoder's top). Each size in a process of its own, once.",
        rows,
        draw,
        [
            "Aim: under 4 GiB (4,096 MiB) at COCO's size.",
            "The texts' own store is kept narrow on the disk; its index is as long as COCO's.",
            "What grows is the index: ids, offsets and sums of all items, and the table of captions.",
            *([] if options.long else [f"--long: {COCO:,} images, 17 GB on the disk that TMPDIR names."]),
        ],
    )


def draw(figure: Figure, rows: Sequence[Row]) -> None:
    """Draw the peaks over the store's size."""
    axes = figure.subplots()
    sizes = [row["store GB"] for row in rows]
    for name in ("opened", "reading", "training"):
        axes.plot(sizes, [row[f"{name} MiB"] for row in rows], marker="o", label=name)
    axes.plot(sizes, [size * GB / MIB for size in sizes], "--", color="0.5", label="the store itself")
    axes.set(xscale="log", yscale="log", xlabel="store, GB", ylabel="MiB")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=7)
