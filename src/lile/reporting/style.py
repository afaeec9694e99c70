"""How our pictures look: colours that a colour-blind reader can part, and lines that a black-and-white print can.

Colours: Okabe and Ito, Color Universal Design (2008), less yellow, which vanishes on white.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lile.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lile.reporting.spec import TableSpec

DPI = 150
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h")
BOUND_LINE = {"color": "0.45", "linestyle": (0, (1, 2)), "linewidth": 1.5}
"""Of a level that no model drew: chance."""
ORDERED = "cividis"
"""The colour map of a size: its lightness grows all the way, also for the colour-blind."""

SYNTHETIC = " (SYNTHETIC DATA: no result on real images)"


def looks(number: int) -> Iterator[dict[str, Any]]:
    """Yield ``number`` line looks; the lengths share no divisor, so that up to 385 of them differ."""
    for place in range(number):
        yield {
            "color": COLOURS[place % len(COLOURS)],
            "linestyle": LINES[place % len(LINES)],
            "marker": MARKERS[place % len(MARKERS)],
        }


def title_of(spec: TableSpec, what: str) -> str:
    """Return what stands above a picture: the dataset and, loudly, that drawn data show nothing."""
    return f"{spec.dataset}: {what}{SYNTHETIC if spec.kind == 'synthetic' else ''}"


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure that needs no display and leaves pyplot's state alone."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), layout="constrained")


def save_png(drawing: Figure, path: Path) -> None:
    """Write the figure as a PNG, atomically; the same figure gives the same bytes.

    Raises:
        OSError: the file cannot be written; nothing is left behind.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with replacing(path) as part:
        FigureCanvasAgg(drawing).print_figure(part, dpi=DPI, format="png", metadata={"Software": None})
