"""A section's files: a table for people, one for programs, and a plot. Each is written whole or not at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.harness import Result, Row, Spread
from lile.files import replacing, write_csv, write_text

SIZE_IN, DPI = (8.0, 4.8), 110


def write(folder: Path, name: str, result: Result, machine: Mapping[str, Any]) -> list[Path]:
    """Write ``name.md``, ``name.csv`` and ``name.png`` into ``folder`` and return their paths.

    The CSV repeats the machine in every row, so that a row says where it is from wherever it is copied to.
    """
    paths = [folder / f"{name}.{kind}" for kind in ("md", "csv", "png")]
    write_text(paths[0], markdown(name, result, machine))
    write_csv(paths[1], pd.DataFrame([flat(row) | dict(machine) for row in result.rows]))
    _plot(paths[2], result, machine)
    return paths


def markdown(name: str, result: Result, machine: Mapping[str, Any]) -> str:
    """Return the page of a section."""
    parts = [
        f"# {result.title}",
        result.about,
        table(result.rows),
        "\n".join(f"- {note}" for note in result.notes),
        "Measured with " + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in machine.items()) + ".",
        "Ratios are medians over rounds in one run, with the lowest and the highest. "
        f"Again: `make bench SECTION={name}`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table."""
    heads = list(rows[0])
    lines = [heads, ["---"] * len(heads), *([shown(row[head]) for head in heads] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def shown(value: Any) -> str:
    """Return a value as the tables show it: three digits that count, a spread in brackets."""
    if isinstance(value, Spread):
        return f"{shown(value.median)} ({shown(value.low)} to {shown(value.high)})"
    if value is None:
        return ""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    if value == 0 or not 1e-3 <= abs(value) < 1e15:
        return f"{value:.1e}" if value else "0"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def flat(row: Row) -> dict[str, Any]:
    """Return a row for the CSV: a spread ``x`` becomes ``x``, ``x_low`` and ``x_high``."""
    found: dict[str, Any] = {}
    for head, value in row.items():
        column = head.replace(" ", "_")
        if isinstance(value, Spread):
            found |= {column: value.median, f"{column}_low": value.low, f"{column}_high": value.high}
        else:
            found[column] = value
    return found


def _plot(path: Path, result: Result, machine: Mapping[str, Any]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # needs no display
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_IN, layout="constrained")
    result.draw(figure, result.rows)
    said = ("cpu", "cores", "threads", "gpu", "torch", "commit", "date")
    figure.supxlabel(", ".join(f"{key} {machine[key]}" for key in said if key in machine), fontsize=6, color="0.4")
    figure.suptitle(result.title, fontsize=11)
    with replacing(path) as part:
        FigureCanvasAgg(figure).print_figure(part, dpi=DPI, format="png")
