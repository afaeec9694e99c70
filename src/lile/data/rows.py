"""Rows of a person's own table (CSV, TSV, JSON lines, JSON list), one by one, with the place where each stands."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lile.errors import InputError

FORMATS = (".csv", ".tsv", ".jsonl", ".json")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class Row(NamedTuple):
    """One row, or what is wrong with it."""

    number: str
    """The line on which it ends (CSV, TSV, JSON lines) or its place in the list (JSON), counted from 1."""
    cells: dict[str, Any]
    """By column name; empty where the row cannot be read."""
    problem: str = ""


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a table, streaming but for a JSON list.

    Bytes that are no UTF-8 become U+FFFD, a byte-order mark is skipped. CSV has commas, TSV tabs; both take double
    quotes round cells with separators, line breaks or (doubled) quotes.

    Args:
        path: a file whose name ends in ``.csv``, ``.tsv``, ``.jsonl`` or ``.json``.

    Yields:
        Every row in order; a row that cannot be read with its ``problem``.

    Raises:
        InputError: the file is missing, empty, of another kind or encoding, or not what its name says as a whole.
    """
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise InputError(f"{path}: a table must be one of {', '.join(FORMATS)}; this ends in {kind or 'nothing'}")
    check_readable(path)
    if kind == ".jsonl":
        yield from _json_lines(path)
    elif kind == ".json":
        yield from _json_list(path)
    else:
        yield from _separated(path, "," if kind == ".csv" else "\t")


def read_json(path: Path, hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Read a whole JSON file. Raises ``InputError`` where it is missing, empty, UTF-16 or no JSON.

    Args:
        path: of the file.
        hook: takes each object, innermost first, and gives what stands in its place: what nobody needs of a large file
            is let go while it is read.
    """
    check_readable(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig", errors="replace"), object_hook=hook)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path}: no JSON ({error}); was it cut off? One object per line is a .jsonl file") from error


def check_readable(path: Path) -> None:
    """Raise ``InputError`` unless ``path`` is a file with something in it that is not UTF-16."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open("rb") as handle:
        head = handle.read(2)
    if not head:
        raise InputError(f"{path}: the file is empty")
    if head in _UTF16:
        raise InputError(f"{path}: the file is UTF-16; save it as UTF-8")


def _separated(path: Path, separator: str) -> Iterator[Row]:
    """Yield the rows of a CSV or TSV file."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as handle:
        # strict: else a quote that never closes swallows the rest of the file without a word
        reader = csv.reader(handle, delimiter=separator, strict=True)
        header = _header(path, reader, separator)
        last = reader.line_num
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:  # the reader begins afresh on the next line
                problem = f"lines {last + 1} to {reader.line_num}: {error}; is a quote not closed or not doubled?"
                yield Row(str(reader.line_num), {}, problem)
            else:
                if cells:  # a blank line is none
                    yield _fitted(str(reader.line_num), header, cells)
            last = reader.line_num


def _header(path: Path, reader: Iterator[list[str]], separator: str) -> list[str]:
    """Return the column names. Raises ``InputError`` where there are none, or one stands twice."""
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise InputError(f"{path}: the first line is no header ({error})") from error
    named = [name for name in header if name]
    if not named:
        raise InputError(f"{path}: the first line must name the columns; it is blank")
    if len(set(named)) < len(named):
        raise InputError(f"{path}: a column name stands twice in the first line: {header}")
    other = next((mark for mark in ";\t," if mark != separator and mark in header[0]), None)
    if len(header) == 1 and other:
        raise InputError(f"{path}: its columns are separated by {other!r}; .csv needs commas, .tsv tabs")
    return header


def _fitted(number: str, header: list[str], cells: list[str]) -> Row:
    """Name the cells of a row; a row with too many or too few is told, for its caption may be cut at a comma."""
    if len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
        return Row(number, {}, f"{len(cells)} cells where the first line names {len(header)} columns")
    return Row(number, dict(zip(header, cells, strict=False)))


def _json_lines(path: Path) -> Iterator[Row]:
    """Yield the rows of a JSON-lines file; blank lines are none."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as handle:
        for number, line in enumerate(handle, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                yield Row(str(number), {}, f"no JSON: {error}")
            else:
                yield _object(str(number), value)


def _json_list(path: Path) -> Iterator[Row]:
    """Yield the rows of a JSON file that holds one list of objects."""
    values = read_json(path)
    if not isinstance(values, list):
        raise InputError(f"{path}: a list of objects is needed; the file holds one {type(values).__name__}")
    for number, value in enumerate(values, start=1):
        yield _object(str(number), value)


def _object(number: str, value: Any) -> Row:
    """Take an object as a row."""
    if isinstance(value, dict):
        return Row(number, value)
    return Row(number, {}, f"an object is needed; this is a {type(value).__name__}")
