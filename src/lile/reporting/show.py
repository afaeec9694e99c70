"""A finished table as plain text, for the end of ``make demo`` and for a log."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path

from lile.errors import InputError
from lile.reporting.table import SUFFIXES

WIDTH = 120
"""Columns to write for where no terminal tells its own, a log file for instance."""
WIDEST = 160
"""Longer lines of text are hard to read, whatever the terminal."""


def render_for_terminal(path: Path, width: int | None = None) -> str:
    """Return a table as plain text, and where its files lie.

    Args:
        path: ``{table}.csv`` or ``{table}.md``; the page is read, the other files are only named.
        width: columns to fill; by default the terminal's, at most ``WIDEST``, or ``WIDTH`` where there is none.

    Returns:
        Text without Markdown's marks, ending in a newline.

    Raises:
        InputError: there is no such table.
    """
    page = path.with_suffix(".md")
    if path.suffix not in (".csv", ".md") or not page.is_file():
        raise InputError(f"{path}: no table here ({page} is missing); make it with: snakemake --cores all {path}")
    width = width or min(shutil.get_terminal_size((WIDTH, 24)).columns, WIDEST)
    beside = [page.with_suffix(f".{suffix}") for suffix in SUFFIXES]
    lies = "\n".join(f"  {file}" for file in beside if file.is_file())
    return f"{plain(page.read_text(encoding='utf-8'), width)}\nThe table lies in\n{lies}\n"


def plain(page: str, width: int = WIDTH) -> str:
    """Return a Markdown page without the marks that only a renderer needs, in lines of at most ``width``.

    A table that is wider is cut into several below each other, each with the first column; one whose single columns
    do not fit stays too wide.
    """
    lines: list[str] = []
    for is_table, block in groupby(page.splitlines(), key=lambda line: line.startswith("|")):
        if is_table:
            lines += _cut(list(block), width)
        else:
            lines += [piece for line in block for piece in _wrapped(line, width)]
    return "\n".join(lines) + "\n"


def _wrapped(line: str, width: int) -> list[str]:
    """Return a line of text in pieces, and a heading underlined."""
    heading = re.match(r"#+ (.*)", line)
    if heading:
        return [heading[1], "=" * len(heading[1])]
    text = line.removeprefix("> ").replace("**", "")
    return textwrap.wrap(text, width, subsequent_indent="  " if text.startswith("- ") else "") or [""]


def _cut(lines: list[str], width: int) -> list[str]:
    """Return a pipe table of even columns as it is or, where it is too wide, as several with a line between."""
    # The rule below the header has a bar at every border and nowhere else; a cell may hold an escaped one.
    borders = [place for place, sign in enumerate(lines[1]) if sign == "|"]
    columns = list(pairwise(borders[1:]))
    parts: list[tuple[int, int]] = []
    for number in range(1, len(columns) + 1):
        parts = list(_shares(columns, number))
        if all(borders[1] + stop - start < width for start, stop in parts):
            break
    tables = [[line[: borders[1]] + line[start : stop + 1] for line in lines] for start, stop in parts]
    return [line for table in tables for line in ("", *table)][1:]


def _shares(columns: list[tuple[int, int]], number: int) -> Iterator[tuple[int, int]]:
    """Yield where each of ``number`` shares of the columns starts and stops; the first ones are the smaller."""
    cuts = [len(columns) * share // number for share in range(number + 1)]
    yield from ((columns[first][0], columns[last - 1][1]) for first, last in pairwise(cuts))
