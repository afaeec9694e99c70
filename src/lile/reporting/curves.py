"""Training curves of a model's folds: loss and validation R@sum per epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lile.errors import InputError
from lile.files import replacing

HEIGHT_IN, WIDTH_IN, DPI = 3.6, 9.0, 120


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


def plot_curves(histories: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Draw every fold's loss (left) and validation R@sum (right) over epochs into a PNG, atomically.

    Args:
        histories: label of a fold -> its epochs, each with ``epoch``, ``loss``, ``validation`` (``{"Rsum": ..}``) and
            optionally ``best``. A ring marks the epoch whose weights were kept: the last one called best.
        path: the PNG.

    Raises:
        InputError: there is nothing to draw.
        OSError: the file cannot be written.
    """
    if not any(histories.values()):
        raise InputError(f"{path}: no epoch to draw; train a fold first")
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # needs no display and leaves pyplot's state alone
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    loss, recall = drawing.subplots(1, 2)
    for label, epochs in histories.items():
        _draw(loss, recall, label, epochs)
    for axes, title in ((loss, "training loss"), (recall, "validation R@sum (0 to 600)")):
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(visible=True, alpha=0.3)
    recall.legend(fontsize="small", title="ring: weights kept", title_fontsize="small")
    with replacing(path) as part:
        FigureCanvasAgg(drawing).print_figure(part, dpi=DPI, format="png")


def _draw(loss: Any, recall: Any, label: str, epochs: Sequence[Mapping[str, Any]]) -> None:
    """Draw one fold into both axes."""
    numbers = [epoch["epoch"] for epoch in epochs]
    loss.plot(numbers, [epoch["loss"] for epoch in epochs], marker=".", label=label)
    (line,) = recall.plot(numbers, [epoch["validation"]["Rsum"] for epoch in epochs], marker=".", label=label)
    best = [epoch for epoch in epochs if epoch.get("best")]
    if best:
        kept = best[-1]
        ring = {"marker": "o", "markersize": 9, "fillstyle": "none", "color": line.get_color()}
        recall.plot([kept["epoch"]], [kept["validation"]["Rsum"]], **ring)
