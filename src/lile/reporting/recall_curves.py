"""R@K over K for every model of a table, and R@sum over the number that an ablation varies.

Shapes: Q queries of one direction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lile.evaluation.recalls import first_hit_distribution
from lile.evaluation.relevance import DIRECTIONS, PROTOCOLS, counts_of_codes
from lile.reporting.spec import TableSpec
from lile.reporting.style import BOUND_LINE, COLOURS, looks, new_figure, save_png, title_of

DEEPEST = 100
MARKED = (1, 2, 5, 10, 20, 50, 100)
"""Depths that carry a marker."""
PANEL_IN, LEGEND_IN = (4.6, 3.4), 2.6  # a panel's width and height, the width of the legend beside them
ROWS_PER_COLUMN = 24  # of the legend
ASKS = {"i2t": "text retrieval (an image asks)", "t2i": "image retrieval (a text asks)"}
COUNTS = {"own": "own captions", "group": "same group", "own_blocks": "own captions, in blocks"}


@dataclass(frozen=True, kw_only=True, slots=True)
class RankedRun:
    """What the curves of one run are made of, by protocol and direction."""

    ranks: Mapping[tuple[str, str], np.ndarray]
    """0-based rank of the first right item, int64 [Q]."""
    relevant: Mapping[tuple[str, str], np.ndarray]
    """Number of right items in the gallery, int64 [Q]."""

    def gallery(self, way: str) -> int:
        """Return how many items a query of this direction is answered from: the queries of the other one."""
        return len(self.ranks["own", DIRECTIONS[1 - DIRECTIONS.index(way)]])


def ranked_run(arrays: Mapping[str, np.ndarray]) -> RankedRun:
    """Return a run's ranks and numbers of right items.

    Args:
        arrays: of ``ranks.npz`` (see :func:`lile.evaluation.metrics.fold_metrics`).
    """
    image_D = arrays["description_image"]
    group_N = np.unique(arrays["image_groups"], return_inverse=True)[1]
    codes = {"own": (np.arange(len(group_N)), image_D), "group": (group_N, group_N[image_D])}
    relevant = {(name, way): counts for name in codes for way, counts in counts_of_codes(*codes[name]).items()}
    return RankedRun(ranks={key: arrays["_".join(key)] for key in relevant}, relevant=relevant)


def read_ranked(path: Path) -> RankedRun:
    """Return the ranks of a run's ``ranks.npz``, which ``queries.read_queries`` has checked."""
    with np.load(path, allow_pickle=False) as file:
        return ranked_run(file)


def recall_curve(ranks_Q: np.ndarray, depths: np.ndarray) -> np.ndarray:
    """Return R@K in percent for each depth K."""
    return 100.0 * np.searchsorted(np.sort(ranks_Q), depths, side="left") / len(ranks_Q)


def plot_recalls(spec: TableSpec, runs: Mapping[str, Sequence[RankedRun]], rows: pd.DataFrame, path: Path) -> None:
    """Draw R@K over K, a panel per direction and protocol, and below it what an ablation varies, atomically.

    Args:
        spec: the table; with ``vary`` there is a row of panels more.
        runs: model -> its runs in order; curves are means over them.
        rows: from ``rows.summary_rows``, for the ablation.
        path: the PNG.

    Raises:
        OSError: the file cannot be written.
    """
    ablation = bool(spec.vary and spec.values)
    down = len(PROTOCOLS) + ablation
    columns = math.ceil((len(runs) + 1) / ROWS_PER_COLUMN)
    drawing = new_figure(PANEL_IN[0] * 2 + LEGEND_IN * columns, PANEL_IN[1] * down)
    drawing.suptitle(title_of(spec, "recall over the depth of the list"), fontsize="large")
    grid = drawing.subplots(down, 2, squeeze=False)
    for line, protocol in zip(grid, PROTOCOLS, strict=False):
        for axes, way in zip(line, DIRECTIONS, strict=True):
            _draw_recalls(axes, spec, runs, protocol, way)
    handles, labels = grid[0][0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside right upper", fontsize="small", ncols=columns, handlelength=4.0)
    if ablation:
        for axes, protocol in zip(grid[-1], PROTOCOLS, strict=True):
            _draw_ablation(axes, spec, rows[rows["protocol"] == protocol], protocol)
    save_png(drawing, path)


def depths_of(runs: Mapping[str, Sequence[RankedRun]], way: str) -> np.ndarray:
    """Return the depths that are drawn: from 1 to ``DEEPEST``, or to the end of the smallest gallery."""
    smallest = min(run.gallery(way) for folds in runs.values() for run in folds)
    return np.arange(1, min(DEEPEST, smallest) + 1)


def _draw_recalls(axes: Any, spec: TableSpec, runs: Mapping[str, Sequence[RankedRun]], protocol: str, way: str) -> None:
    """Draw one panel."""
    depths = depths_of(runs, way)
    marked = [depth - 1 for depth in MARKED if depth <= len(depths)]
    for (model, folds), look in zip(runs.items(), looks(len(runs)), strict=True):
        mean = np.mean([recall_curve(run.ranks[protocol, way], depths) for run in folds], axis=0)
        axes.plot(depths, mean, **look, markevery=marked, markersize=5, linewidth=1.3, label=spec.label(model))
    first = next(iter(runs.values()))
    levels = [first_hit_distribution(run.relevant[protocol, way], run.gallery(way))[: len(depths)] for run in first]
    axes.plot(depths, 100 * np.mean(levels, axis=0), **BOUND_LINE, label="chance")
    axes.set(xscale="log", ylim=(0, 102), xlabel="K (items looked at)", ylabel="R@K (% of queries)")
    axes.set_title(f"{ASKS[way]}, {COUNTS[protocol]}", fontsize="medium")
    ticks = [depth for depth in MARKED if depth <= len(depths)]
    axes.set_xticks(ticks, [str(depth) for depth in ticks])
    axes.set_xticks([], minor=True)
    axes.grid(visible=True, alpha=0.3)


def _draw_ablation(axes: Any, spec: TableSpec, rows: pd.DataFrame, protocol: str) -> None:
    """Draw R@sum over the number that the rows vary in; bars are intervals, or ± std where there are none."""
    points = sorted(ablation_points(spec, rows))
    places, means, below, above = (list(values) for values in zip(*points, strict=True)) if points else ([], [], [], [])
    style = {"color": COLOURS[0], "marker": "o", "capsize": 4, "linewidth": 1.3}
    axes.errorbar(places, means, yerr=[below, above], **style)
    axes.set_xticks(places, [f"{place:g}" for place in places])
    said = "95 % intervals" if "low" in rows and rows["low"].notna().any() else f"± std over {spec.unit}s"
    axes.set(xlabel=str(spec.vary), ylabel="R@sum (0 to 600)")
    axes.set_title(f"R@sum, {COUNTS[protocol]}; bars: {said}", fontsize="medium")
    axes.grid(visible=True, alpha=0.3)


def ablation_points(spec: TableSpec, rows: pd.DataFrame) -> Iterator[tuple[float, float, float, float]]:
    """Yield (number, R@sum, how far the bar goes down, how far up) of every row that has a number."""
    totals = rows[(rows["source"] == "ours") & (rows["metric"] == "Rsum")].set_index("row")
    for row, value in spec.values.items():
        if row not in totals.index:
            continue
        cell: Any = totals.loc[row]
        spread = 0.0 if pd.isna(cell["std"]) else float(cell["std"])
        low, high = cell.get("low"), cell.get("high")
        below, above = (spread, spread) if low is None or pd.isna(low) else (cell["mean"] - low, high - cell["mean"])
        yield float(value), float(cell["mean"]), max(0.0, below), max(0.0, above)
