"""Training curves of a table's models: loss, validation R@sum and alpha per epoch and fold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lile.errors import InputError
from lile.files import replacing

HEIGHT_IN, WIDTH_IN, DPI = 3.0, 12.0, 100  # height of each model's row


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return a fold's ``history.jsonl``: one object per epoch.

    Raises:
        InputError: the file is missing, empty or not JSON lines.
    """
    try:
        epochs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; train this fold first") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON lines ({error}); train this fold again") from None
    if not epochs:
        raise InputError(f"{path}: holds no epoch; train this fold again")
    return epochs


def plot_curves(histories: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], path: Path, unit: str = "fold") -> None:
    """Draw a row per model with its loss, validation R@sum and alpha over epochs into a PNG, atomically.

    The axes of R@sum and of alpha are the same in all rows. Losses are not comparable between models (a margin on a sum
    is not a margin on a mean), so each has its own.

    Args:
        histories: model -> its folds in order -> their epochs, each with ``epoch``, ``loss``, ``alpha``, ``validation``
            (``{"Rsum": ..}``) and optionally ``best``. A ring marks the epoch whose weights were kept: the last one
            called best.
        path: the PNG.
        unit: what one of a model's trainings is called.

    Raises:
        InputError: there is nothing to draw, or an epoch lacks a figure.
        OSError: the file cannot be written.
    """
    if not any(epochs for folds in histories.values() for epochs in folds):
        raise InputError(f"{path}: no epoch to draw; train a fold first")
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # needs no display and leaves pyplot's state alone
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(WIDTH_IN, HEIGHT_IN * len(histories)), layout="constrained")
    grid = drawing.subplots(len(histories), 3, squeeze=False)
    for column in (1, 2):
        for axes in grid[1:, column]:
            axes.sharey(grid[0, column])
    for row, (model, folds) in zip(grid, histories.items(), strict=True):
        for number, epochs in enumerate(folds):
            _draw(row, _curves(epochs, f"{path}: {model}, {unit} {number}"), f"{unit} {number}")
        _explain(row, model)
    with replacing(path) as part:
        FigureCanvasAgg(drawing).print_figure(part, dpi=DPI, format="png")


def _curves(epochs: Sequence[Mapping[str, Any]], where: str) -> dict[str, list[float]]:
    """Return one number per epoch for each curve, and under ``best`` whether the epoch was called so."""
    try:
        return {
            "epoch": [float(epoch["epoch"]) for epoch in epochs],
            "loss": [float(epoch["loss"]) for epoch in epochs],
            "Rsum": [float(epoch["validation"]["Rsum"]) for epoch in epochs],
            "alpha": [float(epoch["alpha"]) for epoch in epochs],
            "best": [float(epoch.get("best", False)) for epoch in epochs],
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where}: history.jsonl lacks {error}; train it again") from None


def _draw(row: Any, curves: dict[str, list[float]], label: str) -> None:
    """Draw one fold into its model's three axes."""
    kept = [place for place, best in enumerate(curves["best"]) if best][-1:]
    for axes, name in zip(row, ("loss", "Rsum", "alpha"), strict=True):
        (line,) = axes.plot(curves["epoch"], curves[name], marker=".", label=label)
        for place in kept:
            ring = {"marker": "o", "markersize": 9, "fillstyle": "none", "color": line.get_color()}
            axes.plot([curves["epoch"][place]], [curves[name][place]], **ring)


def _explain(row: Any, model: str) -> None:
    """Title and label one model's axes."""
    for axes, title in zip(row, ("training loss", "validation R@sum (0 to 600)", "alpha"), strict=True):
        axes.set(xlabel="epoch", title=f"{model}: {title}")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(visible=True, alpha=0.3)
    row[1].legend(fontsize="small", title="ring: weights kept", title_fontsize="small")
