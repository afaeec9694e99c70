"""Pairs of hashes that differ in few bits, without comparing all with all.

Pigeonhole: divide the bits into ``most // 2 + 1`` bands. Two hashes that differ in at most ``most`` bits differ in at
most one bit of some band, else they would differ in 2 (most // 2 + 1) > most. So only hashes are compared that agree in
a band, or in all but one of its bits. Bands take every n-th bit, because neighbours among the coefficients go together.
Source: multi-index hashing, Norouzi, Punjani and Fleet (2012). Legend: N hashes, W words of 64 bits, P pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lile.errors import InputError

if TYPE_CHECKING:
    import numpy as np

CHUNK = 1 << 20
"""Comparisons at a time: 100 MB of working space."""
LEAST_BANDS = 8  # a band's bits must fit a word


def near_pairs(looks_NB: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return every pair of different hashes that differ in at most ``most`` bits.

    Args:
        looks_NB: uint8 [N, B], rows all different, B a multiple of 8.
        most: bits.

    Returns:
        ``(pairs_P2, distance_P)``: int64 rows ``(a, b)`` with a < b, sorted; and their distances in bits, int64.

    Raises:
        InputError: ``most`` is negative or a quarter of the bits or more, where near means nothing.
    """
    import numpy as np

    bits = looks_NB.shape[1] * 8
    if not 0 <= most <= bits // 4:
        raise InputError(f"near_duplicate_bits: found {most}, needed is 0 to {bits // 4} of the hash's {bits} bits")
    words_NW = np.ascontiguousarray(looks_NB).view(np.uint64)
    found = [_near(words_NW, pairs_P2, most) for keys_N, width in _bands(looks_NB, most)
             for pairs_P2 in _candidates(keys_N, width)]  # fmt: skip
    empty = np.empty((0, 3), np.int64)
    rows_P3 = np.unique(np.concatenate([empty, *found]), axis=0)
    return rows_P3[:, :2], rows_P3[:, 2]


def _bands(looks_NB: np.ndarray, most: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield each band as one number per hash, uint64 [N], and how many bits it has."""
    import numpy as np

    bits_NB = np.unpackbits(looks_NB, axis=1)
    count = max(most // 2 + 1, LEAST_BANDS)
    for band in range(count):
        part_NB = bits_NB[:, band::count]
        powers_B = np.left_shift(np.uint64(1), np.arange(part_NB.shape[1], dtype=np.uint64))
        yield part_NB.astype(np.uint64) @ powers_B, part_NB.shape[1]


def _candidates(keys_N: np.ndarray, width: int) -> Iterator[np.ndarray]:
    """Yield index pairs, int64 [P, 2], whose keys differ in no bit or in one; P is about CHUNK at most."""
    import numpy as np

    order_N = np.argsort(keys_N, kind="stable")
    sorted_N = keys_N[order_N]
    places_N = np.arange(len(keys_N))
    ends_N = np.searchsorted(sorted_N, sorted_N, "right")
    yield from _expanded(order_N, places_N, places_N + 1, ends_N)
    for bit in range(width):
        mask = np.uint64(1) << np.uint64(bit)
        unset = places_N[(sorted_N & mask) == 0]  # the partner, with the bit set, would find the same pair
        sought = sorted_N[unset] | mask
        first, last = (np.searchsorted(sorted_N, sought, side) for side in ("left", "right"))
        yield from _expanded(order_N, unset, first, last)


def _expanded(order_N: np.ndarray, places: np.ndarray, first: np.ndarray, last: np.ndarray) -> Iterator[np.ndarray]:
    """Pair each place with all places in [first, last), some of them at a time."""
    import numpy as np

    counts = last - first
    used = counts > 0
    places, first, counts = places[used], first[used], counts[used]
    totals = np.cumsum(counts)
    start = 0
    while start < len(places):
        done = totals[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(totals, done + CHUNK, "right")))
        some = counts[start:stop]
        within = np.arange(some.sum()) - np.repeat(np.cumsum(some) - some, some)
        others = np.repeat(first[start:stop], some) + within
        yield np.stack([order_N[np.repeat(places[start:stop], some)], order_N[others]], axis=1)
        start = stop


def _near(words_NW: np.ndarray, pairs_P2: np.ndarray, most: int) -> np.ndarray:
    """Return rows ``(a, b, distance)``, a < b, of the pairs that differ in at most ``most`` bits."""
    import numpy as np

    distance_P = np.bitwise_count(words_NW[pairs_P2[:, 0]] ^ words_NW[pairs_P2[:, 1]]).sum(axis=1, dtype=np.int64)
    near = distance_P <= most
    return np.column_stack([np.sort(pairs_P2[near], axis=1), distance_P[near]])
