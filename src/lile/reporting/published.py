"""Figures printed in papers, kept as data in ``config/published/*.csv``."""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lile.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

RECALL_COLUMNS = ("i2t/R1", "i2t/R5", "i2t/R10", "t2i/R1", "t2i/R5", "t2i/R10")
PUBLISHED_COLUMNS = ("dataset", "method", *RECALL_COLUMNS, "Rsum_printed", "source", "note")
PUBLISHED_PROTOCOLS = ("own", "own_blocks")
"""Under which protocols papers print figures."""
PRINTED_DIGIT = 0.1  # papers print one decimal


def paths_of(published: str | Mapping[str, str | None] | None) -> list[str]:
    """Return the files that a config's key ``published`` names: none, one, or one for each protocol."""
    paths = published.values() if isinstance(published, Mapping) else [published]
    return [path for path in paths if path]


def published_paths(published: str | Mapping[str, str | None] | None) -> dict[str, Path]:
    """Return protocol -> file of a table's key ``published``: null, one path (of ``own``), or a path per protocol.

    Raises:
        InputError: a protocol that no paper's figures stand under.
    """
    if not published:
        return {}
    if not isinstance(published, Mapping):
        return {"own": Path(published)}
    strange = [name for name in published if name not in PUBLISHED_PROTOCOLS]
    if strange:
        known = " and ".join(PUBLISHED_PROTOCOLS)
        raise InputError(f"published: {strange[0]!r} is no protocol of published figures; there are {known}")
    return {name: Path(path) for name in PUBLISHED_PROTOCOLS if (path := published.get(name))}


def comparison_errors(compare: Mapping[str, str], models: Collection[str], methods: Collection[str]) -> Iterator[str]:
    """Yield what is wrong with a table's key ``compare``: rows it has not, methods that no file of it names.

    Args:
        compare: row of ours -> published method.
        models: rows of the table.
        methods: of all its published files.
    """
    for row, method in compare.items():
        if row not in models:
            yield f"compare.{row}: not a row of this table; {_nearest(row, models)}"
        if method not in methods:
            yield f"compare.{row}: {method!r} is not a published method of this table; {_nearest(method, methods)}"


def _nearest(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(known) or 'none'}"


def read_published(path: Path) -> pd.DataFrame:
    """Read one file of published figures, checked by :func:`published_rows`.

    Returns:
        One row per method in the file's order, figures as floats, with two columns more: ``Rsum_of_recalls``, the sum
        of the six recalls, and ``Rsum_differs``, whether it is not what the paper printed.

    Raises:
        InputError: see :func:`published_rows`.
    """
    import pandas as pd

    frame = pd.DataFrame(published_rows(path), columns=list(PUBLISHED_COLUMNS))
    frame = frame.astype(dict.fromkeys((*RECALL_COLUMNS, "Rsum_printed"), float))
    frame["Rsum_of_recalls"] = frame[list(RECALL_COLUMNS)].sum(axis=1).round(6)
    frame["Rsum_differs"] = (frame["Rsum_of_recalls"] - frame["Rsum_printed"]).abs() > PRINTED_DIGIT / 2
    return frame


def published_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of one file of published figures as written, every cell checked.

    Needs no pandas: the config is checked with it each time the Snakefile is parsed, and that is in every job.

    Args:
        path: CSV with the columns ``PUBLISHED_COLUMNS``: ``dataset`` is the kind or name of the dataset that was
            measured on (arch, coco), recalls are in percent, ``Rsum_printed`` is as the paper prints it.

    Raises:
        InputError: the file is missing, not UTF-8, lacks a column, names a method twice, or holds a figure that is no
            number, out of range, or falls with growing depth.
    """
    rows = _read_rows(path)
    seen: set[str] = set()
    for line, row in enumerate(rows, start=2):
        _check_row(row, f"{path}, line {line}")
        if row["method"] in seen:
            raise InputError(f"{path}, line {line}: method {row['method']!r} is there twice; give each its own name")
        seen.add(row["method"])
    return rows


def _read_rows(path: Path) -> list[dict[str, str]]:
    """Return the file's rows as written; its header and the length of its lines are checked."""
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle, restval=None)
            rows = list(reader)
            found = tuple(reader.fieldnames or ())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; name a file of config/published, or published: null") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV in UTF-8 ({error}); save it as such") from None
    if found != PUBLISHED_COLUMNS:
        raise InputError(f"{path}: columns are {list(found)}; they must be {list(PUBLISHED_COLUMNS)}")
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise InputError(f"{path}, line {line}: not {len(found)} cells; put quotes around a text with a comma")
    if not rows:
        raise InputError(f"{path}: no row below the header; use published: null where there is nothing to show")
    return rows


def _check_row(row: dict[str, str], where: str) -> None:
    """Check one method's cells."""
    for name in ("dataset", "method", "source"):
        if not row[name].strip():
            raise InputError(
                f"{where}: {name} is empty; a published figure needs its dataset, its method and where it stands"
            )
    limits = dict.fromkeys(RECALL_COLUMNS, 100.0) | {"Rsum_printed": 600.0}
    figures = {name: _figure(row[name], limit, f"{where}, {name}") for name, limit in limits.items()}
    for way in ("i2t", "t2i"):
        one, five, ten = (figures[f"{way}/R{depth}"] for depth in (1, 5, 10))
        if not one <= five <= ten:
            raise InputError(f"{where}: {way} recalls {one}, {five}, {ten} fall with depth; check them in the source")


def _figure(text: str, limit: float, where: str) -> float:
    """Return a cell's number, from 0 to ``limit``."""
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{where}: {text!r} is not a number; write it as 44.8") from None
    if not (math.isfinite(value) and 0 <= value <= limit):
        raise InputError(f"{where}: {text} is not from 0 to {limit:g}")
    return value
