"""The confusion matrix as a picture: what a held-out picture of each class was taken for."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lile.reporting.style import ORDERED, new_figure, save_png

_LIGHT = 0.5  # a share above it is drawn on a light colour


def draw_confusion(path: Path, matrix_CC: np.ndarray, classes: Sequence[str], title: str, said: str) -> None:
    """Draw shares of each true class with the counts behind them into a PNG, atomically.

    Args:
        path: the picture.
        matrix_CC: counts; a row for each true class.
        classes: their names.
        title: what was trained, and how well it does.
        said: what a reader must know of the figures; stands below.

    Raises:
        OSError: the file cannot be written.
    """
    side = 2.6 + 0.72 * len(classes)
    lines = textwrap.wrap(said, int(16 * (side + 1)))
    drawing = new_figure(side + 1.4, side + 0.17 * len(lines))
    axes = drawing.subplots()
    shares_CC = matrix_CC / np.maximum(matrix_CC.sum(1, keepdims=True), 1)
    image = axes.imshow(shares_CC, cmap=ORDERED, vmin=0, vmax=1)
    for row, column in np.ndindex(matrix_CC.shape):
        count = int(matrix_CC[row, column])
        if count:
            colour = "black" if shares_CC[row, column] > _LIGHT else "white"
            words = f"{_percent(shares_CC[row, column])}\n{count:,}"
            axes.text(column, row, words, ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
    counted = [f"{name}\n({int(count):,})" for name, count in zip(classes, matrix_CC.sum(1), strict=True)]
    axes.set_yticks(range(len(classes)), counted)
    axes.set_xlabel("taken for")
    axes.set_ylabel("is (held-out pictures)")
    axes.set_title(title, fontsize=10)
    drawing.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    drawing.supxlabel("\n".join(lines), fontsize=8, ha="left", x=0.02)
    save_png(drawing, path)


def _percent(share: float) -> str:
    """Return a share in percent; what is not all is never rounded to all, nor something to nothing."""
    if share == 1:
        return "100 %"
    return f"{min(max(100 * share, 0.1), 99.9):.1f} %"
