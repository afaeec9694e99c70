"""Items of a store by id and by row, for stores of tokens and of words.

Shapes: B items asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lile.errors import InputError


def rows_by_id(row_of: Mapping[str, int], ids: Sequence[str], where: str, mend: str) -> np.ndarray:
    """Return the row of each id as int64 ``[B]``.

    Args:
        row_of: the row of every id of the store.
        ids: what is asked for.
        where: what the message names: the store and what it holds.
        mend: what the message says to do.

    Raises:
        InputError: an id is not in the store.
    """
    missing = [item_id for item_id in ids if item_id not in row_of]
    if missing:
        raise InputError(f"{where} for {missing[0]!r} ({len(missing)} of {len(ids)} asked for are missing). {mend}")
    return np.asarray([row_of[item_id] for item_id in ids], dtype=np.int64)


def checked_rows(rows: np.ndarray, count: int) -> np.ndarray:
    """Return rows as int64 ``[B]``. Raises ``IndexError`` for a row that a store of ``count`` items has not."""
    rows = np.asarray(rows, dtype=np.int64)
    if rows.size and not 0 <= rows.min() <= rows.max() < count:
        raise IndexError(f"rows {rows.min()} to {rows.max()} of a store of {count} items")
    return rows
