"""A finished table as plain text, for the end of ``make demo`` and for a log."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from lile.errors import InputError
from lile.reporting.table import SUFFIXES

WIDTH = 120


def render_for_terminal(path: Path) -> str:
    """Return a table as plain text, and where its files lie.

    Args:
        path: ``{table}.csv`` or ``{table}.md``; the page is read, the other files are only named.

    Returns:
        Text without Markdown's marks, ending in a newline.

    Raises:
        InputError: there is no such table.
    """
    page = path.with_suffix(".md")
    if path.suffix not in (".csv", ".md") or not page.is_file():
        raise InputError(f"{path}: no table here ({page} is missing); make it with: snakemake --cores all {path}")
    beside = [page.with_suffix(f".{suffix}") for suffix in SUFFIXES]
    lies = "\n".join(f"  {file}" for file in beside if file.is_file())
    return f"{plain(page.read_text(encoding='utf-8'))}\nThe table lies in\n{lies}\n"


def plain(page: str) -> str:
    """Return a Markdown page without the marks that only a renderer needs."""
    lines = []
    for line in page.splitlines():
        heading = re.match(r"#+ (.*)", line)
        if heading:
            lines += [heading[1], "=" * len(heading[1])]
        else:
            lines += _wrapped(line.removeprefix("> ").replace("**", ""))
    return "\n".join(lines) + "\n"


def _wrapped(line: str) -> list[str]:
    """Return a line of text in pieces of ``WIDTH``; a table's line and an empty one stay whole."""
    if line.startswith("|") or not line:
        return [line]
    return textwrap.wrap(line, WIDTH, subsequent_indent="  " if line.startswith("- ") else "")
