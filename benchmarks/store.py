"""Section 7: token stores on the disk: writing, and random batches, against a memory-mapped NumPy array.

Shapes: n items, L tokens of an item, H width.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.harness import Options, Result, Row, Spread, ratios, seconds_of
from benchmarks.token_files import Way, drawn, forget, ways

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LENGTH, WIDTH, BATCH = 36, 2048, 128  # COCO's regions
ITEMS, LONG_ITEMS = 2_000, 20_000
SHARE = 2  # a round reads one half of the items
MB = 1e6


def measure(options: Options) -> Result:
    """Write, and read at random, in each way; all ways take turns in each round."""
    length, width, batch, n = (3, 8, 4, 24) if options.tiny else (LENGTH, WIDTH, BATCH, ITEMS)
    n = LONG_ITEMS if options.long else n
    compared = ways(segment=max(1, n // 8))
    seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory(prefix="lile-bench-") as folder:
        files = {way.name: Path(folder) / f"{number}.data" for number, way in enumerate(compared)}
        pool = drawn(length, width)
        for number in range(options.repeats):
            for way in compared:
                files[way.name].unlink(missing_ok=True)
                seconds[way.name]["write"].append(seconds_of(lambda way=way: way.write(files[way.name], pool, n)))
            order = np.random.default_rng(number).permutation(n)[: max(batch, n // SHARE)]
            batches = [order[start : start + batch] for start in range(0, len(order) - batch + 1, batch)]
            for way in compared:
                _read(way, files[way.name], batches, pool, seconds[way.name])
        sizes = {name: path.stat().st_size for name, path in files.items()}
    written, read = (2 * length * width * count for count in (n, len(batches) * batch))
    rows = [_row(way.name, sizes[way.name], seconds, compared[0].name, written, read) for way in compared]
    return Result(
        "Token stores",
        f"{n:,} items of {length} x {width} float16, half of them zero as after a ReLU ({written / MB:,.0f} MB), "
        f"written to one file and read in random batches of {batch} items. `cold`: the file's pages were dropped from "
        "memory first (posix_fadvise DONTNEED; what a disk or a host below keeps, stays there). `warm`: the same "
        "batches again. All rates are of tokens, whatever the file's size. Every way gives the same tokens; that is "
        "checked.",
        rows,
        draw,
        [
            "LILE compares an item with its sums when it is read for the first time: its cold rate includes that.",
            "Writing ends when everything is on the disk (fsync). In segments every token is written twice.",
            f"Aim: at least 0.5 of np.memmap. With --long: {LONG_ITEMS:,} items.",
        ],
    )


def _read(
    way: Way, path: Path, batches: Sequence[np.ndarray], pool: np.ndarray, seconds: dict[str, list[float]]
) -> None:
    forget(path)
    read = way.open(path)
    for kind in ("cold", "warm"):
        seconds[kind].append(seconds_of(lambda: [read(rows) for rows in batches]))
    assert np.array_equal(read(batches[-1]), pool[batches[-1] % len(pool)]), way.name


def _row(name: str, size: int, seconds: dict[str, dict[str, list[float]]], base: str, written: int, read: int) -> Row:
    row: Row = {"kept by": name, "file MB": size / MB}
    row["write MB/s"] = Spread.of(written / MB / one for one in seconds[name]["write"])
    for kind in ("cold", "warm"):
        row[f"{kind} MB/s"] = Spread.of(read / MB / one for one in seconds[name][kind])
        row[f"{kind}, of memmap"] = ratios(seconds[base][kind], seconds[name][kind])
    return row


def draw(figure: Figure, rows: Sequence[Row]) -> None:
    """Draw the rates of all ways."""
    axes = figure.subplots()
    places = np.arange(len(rows))
    for shift, kind in ((-0.27, "write"), (0.0, "cold"), (0.27, "warm")):
        axes.barh(places + shift, [row[f"{kind} MB/s"].median for row in rows], height=0.25, label=kind)
    axes.set(yticks=places, yticklabels=[row["kept by"] for row in rows], xlabel="MB/s", xscale="log")
    axes.invert_yaxis()
    axes.grid(visible=True, axis="x", alpha=0.3)
    axes.legend(fontsize=7)
