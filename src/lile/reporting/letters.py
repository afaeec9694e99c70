"""Letters that say which rows differ: two rows that share one do not.

The compact letter display, by insert and absorb: Piepho, J. Comput. Graph. Stat. 13 (2004).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations
from string import ascii_lowercase

import pandas as pd

from lile.reporting.paired import LEVEL


def letters_of(tests: pd.DataFrame, means: dict[str, float], level: float = LEVEL) -> dict[str, str]:
    """Return each row's letters for one statistic; ``a`` goes to the highest mean.

    Args:
        tests: the tests of one protocol, direction and metric: ``row_a, row_b, p_holm`` of every two rows.
        means: row -> mean.
        level: two rows whose corrected p is below it differ.
    """
    ranked = sorted(means, key=lambda row: -means[row])  # stable: rows with one mean stay in the table's order
    differing = tests[tests["p_holm"] < level]
    return compact_letters(ranked, list(zip(differing["row_a"], differing["row_b"], strict=True)))


def compact_letters(rows: Sequence[str], differing: Collection[tuple[str, str]]) -> dict[str, str]:
    """Return each row's letters: two rows share one exactly where they are no pair of ``differing``.

    Args:
        rows: in the order in which letters are given out.
        differing: pairs of rows, in whatever order.
    """
    places = {row: place for place, row in enumerate(rows)}
    columns = [frozenset(range(len(rows)))]
    for a, b in differing:
        columns = _absorbed([part for column in columns for part in _parted(column, places[a], places[b])])
    columns.sort(key=sorted)
    columns = _needed(columns)
    return {
        row: "".join(_letter(number) for number, column in enumerate(columns) if place in column)
        for row, place in places.items()
    }


def _parted(column: frozenset[int], a: int, b: int) -> list[frozenset[int]]:
    """Return the column, or where it holds both rows, one without the one and one without the other."""
    return [column - {b}, column - {a}] if {a, b} <= column else [column]


def _absorbed(columns: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """Return the columns that are part of no other one."""
    distinct = list(dict.fromkeys(columns))
    return [column for column in distinct if not any(column < other for other in distinct)]


def _needed(columns: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """Return the columns without those whose pairs all stand together in another one, the last dropped first."""
    kept = list(columns)
    for column in reversed(columns):
        others = [other for other in kept if other != column]
        pairs = list(combinations(sorted(column), 2)) or [(row, row) for row in column]
        if all(any({a, b} <= other for other in others) for a, b in pairs):
            kept = others
    return kept


def _letter(number: int) -> str:
    """Return a to z, then a1 to z1, and so on."""
    round_, place = divmod(number, len(ascii_lowercase))
    return ascii_lowercase[place] + (str(round_) if round_ else "")
