"""Training curves of a table's models: loss, validation R@sum and alpha per epoch and fold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lile.errors import InputError
from lile.reporting.spec import TableSpec
from lile.reporting.style import looks, new_figure, save_png, title_of

HEIGHT_IN, WIDTH_IN = 2.4, 12.0  # height of each model's row
NOTE_IN = 0.4  # height of a line of words
PANELS = {"loss": "training loss", "Rsum": "validation R@sum (0 to 600)", "alpha": "alpha"}

Epochs = Sequence[Mapping[str, Any]]


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return a fold's ``history.jsonl``: one object per epoch; none of a row that is not trained itself.

    Raises:
        InputError: the file is missing or not JSON lines.
    """
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; train this fold first") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON lines ({error}); train this fold again") from None


def plot_curves(spec: TableSpec, histories: Mapping[str, Sequence[Epochs]], path: Path) -> None:
    """Draw a row per trained model with its loss, validation R@sum and alpha over epochs into a PNG, atomically.

    The axes of R@sum and of alpha are the same in all rows. Losses are not comparable between models (a margin on a sum
    is not a margin on a mean), so each has its own. Models that were never trained (zero-shot: only an epoch 0; an
    ensemble: none) are named in a line below.

    Args:
        spec: the table.
        histories: model -> its folds in order -> their epochs, each with ``epoch``, ``loss``, ``alpha`` (null where the
            model has none), ``validation`` (``{"Rsum": ..}``) and optionally ``best``. A ring marks the epoch whose
            weights were kept: the last one called best.
        path: the PNG.

    Raises:
        InputError: an epoch lacks a figure.
        OSError: the file cannot be written.
    """
    drawn = {
        model: [_curves(epochs, f"{path}: {model}, {spec.unit} {number}") for number, epochs in enumerate(folds)]
        for model, folds in histories.items()
        if any(epoch.get("epoch") != 0 for epochs in folds for epoch in epochs)
    }
    still = [spec.label(model) for model in histories if model not in drawn]
    note = f"Not trained here, so without curves: {', '.join(still)}" if still else ""
    drawing = new_figure(WIDTH_IN, HEIGHT_IN * len(drawn) + NOTE_IN * (1 + bool(note)))
    drawing.suptitle(title_of(spec, "training"), fontsize="large")
    if drawn:
        _draw_all(drawing.subplots(len(drawn), len(PANELS), squeeze=False), spec, drawn)
    if note:
        drawing.supxlabel(note, fontsize="medium", wrap=True)
    save_png(drawing, path)


def _curves(epochs: Epochs, where: str) -> dict[str, list[float]]:
    """Return one number per epoch for each curve, and under ``best`` whether the epoch was called so."""
    try:
        return {
            "epoch": [float(epoch["epoch"]) for epoch in epochs],
            "loss": [
                _number(epoch, "loss", absent=epoch["epoch"] == 0 and epoch.get("loss") is None) for epoch in epochs
            ],
            "Rsum": [float(epoch["validation"]["Rsum"]) for epoch in epochs],
            "alpha": [_number(epoch, "alpha", absent=epoch["alpha"] is None) for epoch in epochs],
            "best": [float(epoch.get("best", False)) for epoch in epochs],
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where}: history.jsonl lacks {error}; train it again") from None


def _number(epoch: Mapping[str, Any], key: str, absent: bool) -> float:
    """Return an epoch's figure, NaN where it may be absent and is."""
    return math.nan if absent else float(epoch[key])


def _draw_all(grid: Any, spec: TableSpec, drawn: Mapping[str, Sequence[dict[str, list[float]]]]) -> None:
    """Draw every model into its row of axes."""
    for column in (1, 2):
        for axes in grid[1:, column]:
            axes.sharey(grid[0, column])
    for row, (model, folds) in zip(grid, drawn.items(), strict=True):
        for number, (curves, look) in enumerate(zip(folds, looks(len(folds)), strict=True)):
            _draw(row, curves, look, f"{spec.unit} {number}")
        _explain(row, spec.label(model))
        for axes, name in zip(row, PANELS, strict=True):
            if all(math.isnan(value) for curves in folds for value in curves[name]):
                axes.set_xticks([])
                axes.text(0.5, 0.5, f"no {name}", transform=axes.transAxes, ha="center", va="center", color="0.45")
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    grid[0][1].legend(fontsize="small", title="ring: weights kept", title_fontsize="small")


def _draw(row: Any, curves: dict[str, list[float]], look: Mapping[str, Any], label: str) -> None:
    """Draw one fold into its model's three axes."""
    kept = [place for place, best in enumerate(curves["best"]) if best][-1:]
    for axes, name in zip(row, PANELS, strict=True):
        (line,) = axes.plot(curves["epoch"], curves[name], **look, markersize=4, linewidth=1.2, label=label)
        for place in kept:
            ring = {"marker": "o", "markersize": 10, "fillstyle": "none", "color": line.get_color()}
            axes.plot([curves["epoch"][place]], [curves[name][place]], **ring)


def _explain(row: Any, label: str) -> None:
    """Title one model's axes."""
    for axes, title in zip(row, PANELS.values(), strict=True):
        axes.set_title(f"{label}: {title}", fontsize="medium")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(visible=True, alpha=0.3)
