"""Letters: known displays, and on every small table two rows share a letter exactly where they do not differ."""

from __future__ import annotations

from itertools import combinations, product

import pandas as pd
import pytest

from lile.reporting.letters import compact_letters, letters_of

KNOWN = [
    ("ABC", [], {"A": "a", "B": "a", "C": "a"}),
    ("ABC", ["AB", "AC", "BC"], {"A": "a", "B": "b", "C": "c"}),
    ("ABC", ["AC"], {"A": "a", "B": "ab", "C": "b"}),
    ("ABCD", ["AD", "AC", "BD"], {"A": "a", "B": "ab", "C": "bc", "D": "c"}),
    # The middle row differs from both ends, which do not differ from each other: letters need not follow the means.
    ("ABC", ["AB", "CB"], {"A": "a", "B": "b", "C": "a"}),
    ("A", [], {"A": "a"}),
    # A four-cycle A-B-C-D-A of rows that do not differ: each side of the square is a letter.
    ("ABCD", ["AC", "BD"], {"A": "ab", "B": "ac", "C": "cd", "D": "bd"}),
    # Parting A from D and then from E leaves columns that are part of others: they are absorbed.
    ("ABCDE", ["AD", "AE", "BE", "CE"], {"A": "a", "B": "ab", "C": "ab", "D": "bc", "E": "c"}),
]


@pytest.mark.parametrize(("rows", "differing", "letters"), KNOWN)
def test_known_displays(rows, differing, letters):
    assert compact_letters(rows, [(a, b) for a, b in differing]) == letters


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_rows_share_a_letter_exactly_where_they_do_not_differ(number):
    rows = "ABCDE"[:number]
    pairs = list(combinations(rows, 2))
    for marks in product((False, True), repeat=len(pairs)):
        differing = {pair for pair, mark in zip(pairs, marks, strict=True) if mark}
        letters = compact_letters(rows, sorted(differing, reverse=True))
        for a, b in pairs:
            assert bool(set(letters[a]) & set(letters[b])) == ((a, b) not in differing)
        assert all(letters.values())
        assert "a" in letters["A"]


def test_letters_go_by_mean_and_corrected_p():
    tests = pd.DataFrame(
        [("x", "y", 0.001, 0.003), ("x", "z", 0.03, 0.06), ("y", "z", 0.001, 0.003)],
        columns=["row_a", "row_b", "p", "p_holm"],
    )
    assert letters_of(tests, {"x": 10.0, "y": 300.0, "z": 12.0}) == {"y": "a", "z": "b", "x": "b"}


def test_more_rows_than_letters():
    rows = [f"row{number}" for number in range(30)]
    letters = compact_letters(rows, list(combinations(rows, 2)))
    assert (letters["row0"], letters["row25"], letters["row26"], letters["row29"]) == ("a", "z", "a1", "d1")
