"""Similarity matrices of a batch, as in the paper's Figure 2: with a good model only the diagonal is bright.

Shapes: B images, and as many texts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lile.reporting.spec import TableSpec
from lile.reporting.style import ORDERED, new_figure, save_png, title_of

PANEL_IN, ACROSS = (3.4, 3.0), 4  # width and height of one panel, how many stand beside each other


def read_batch(path: Path) -> np.ndarray | None:
    """Return a run's scores of its batch [B, B], from ``ranks.npz``; None in files of before there was one."""
    with np.load(path, allow_pickle=False) as file:
        return file.get("batch_scores")


def plot_similarity(spec: TableSpec, scores_BB: Mapping[str, np.ndarray | None], path: Path) -> None:
    """Draw a matrix per model, images down and their own texts across, into a PNG, atomically.

    Scores of different models have no common unit, so each matrix has its own scale; brighter is more alike.

    Args:
        spec: the table.
        scores_BB: model -> the scores of its first run's batch [B, B], or None where there is none.
        path: the PNG.

    Raises:
        OSError: the file cannot be written.
    """
    drawn = {model: matrix for model, matrix in scores_BB.items() if matrix is not None and matrix.size}
    across = min(ACROSS, max(1, len(drawn)))
    down = max(1, math.ceil(len(drawn) / across))
    drawing = new_figure(max(PANEL_IN[0] * across, 6.0), PANEL_IN[1] * down + 0.6)
    what = f"scores of test images and texts of {spec.unit} 0; right pairs stand on the diagonal"
    drawing.suptitle(title_of(spec, what), fontsize="medium", wrap=True)
    grid = drawing.subplots(down, across, squeeze=False).ravel()
    for axes in grid[len(drawn) :]:
        axes.set_axis_off()
    for axes, (model, matrix) in zip(grid, drawn.items(), strict=False):
        _draw(drawing, axes, spec.label(model), matrix)
    missing = [spec.label(model) for model in scores_BB if model not in drawn]
    if missing:
        drawing.supxlabel(f"Evaluated before a batch was kept: {', '.join(missing)}", fontsize="small", wrap=True)
    save_png(drawing, path)


def share_on_diagonal(scores_BB: np.ndarray) -> float:
    """Return the share of images, in percent, whose own text scores above every other one of the batch."""
    others_BB = np.where(np.eye(len(scores_BB), dtype=bool), -np.inf, scores_BB)
    return 100.0 * float(np.mean(np.diag(scores_BB) > others_BB.max(axis=1)))


def _draw(drawing: Any, axes: Any, label: str, matrix: np.ndarray) -> None:
    """Draw one model's matrix."""
    picture = axes.imshow(matrix, cmap=ORDERED, interpolation="nearest")
    axes.set_title(f"{label}\nown text first: {share_on_diagonal(matrix):.0f} % of {len(matrix)}", fontsize="small")
    axes.set(xlabel="text of image", ylabel="image")
    axes.tick_params(labelsize="x-small")
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True)
    drawing.colorbar(picture, ax=axes, shrink=0.75).ax.tick_params(labelsize="x-small")
