from __future__ import annotations

import pytest

from lile.matching.roofline import H200, Peaks, operations, roofline


@pytest.mark.parametrize(
    ("steps", "matrix", "special"),
    [
        # m = 2, d = 3. The Gram block: 2 * 4 * 3 = 24. A step's lengths: 2 * 8 = 16; its special functions: 4 + 4 = 8.
        (1, 24 + 2 * 16, 2 * 8),
        # A gate: 2 * 4 * 6 + 2 * 4 * 3 = 72 and 2 * 2 * 3 = 12 special functions.
        (2, 24 + 2 * (2 * 16 + 72), 2 * (2 * 8 + 12)),
        # The second gate's query half: 2 * 2 * 3 * 6 = 72.
        (3, 24 + 2 * (3 * 16 + 2 * 72 + 72), 2 * (3 * 8 + 2 * 12)),
    ],
)
def test_operations_are_those_counted_by_hand(steps, matrix, special):
    assert operations(1, 1, 2, 3, steps) == (matrix, special)
    assert operations(5, 7, 2, 3, steps) == (35 * matrix, 35 * special)


def test_seconds_are_operations_by_rates_and_the_slower_unit_bounds():
    peaks = Peaks(bf16=100.0, fp32=10.0, special=4.0)
    fast, slow = (roofline(1, 1, 2, 3, 1, peaks, precision) for precision in ("bf16", "fp32"))
    assert (fast.matrix_seconds, fast.special_seconds, fast.seconds) == (0.56, 4.0, 4.0)
    assert (slow.matrix_seconds, slow.seconds) == (5.6, 5.6)


def test_special_functions_bound_coco_5k_on_an_h200():
    bound = roofline(5_000, 25_000, 16, 1024, 2, H200)
    assert bound.seconds == bound.special_seconds == pytest.approx(125e6 * 66_688 / 4.18176e12)
    assert bound.matrix_seconds < bound.special_seconds / 2
