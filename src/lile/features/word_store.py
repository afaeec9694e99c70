"""Captions as the numbers of their words, behind the reading interface of a token store; held in memory.

Shapes: B items asked for, L words of an item with the markers at its ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lile.data.vocabulary import PAD, Vocabulary
from lile.errors import InputError
from lile.features.rows import checked_rows, rows_by_id


class WordStore:
    """Reads captions as word numbers.

    Args:
        ids: an id per caption, each once.
        texts: the captions, in the order of ``ids``.
        vocabulary: gives the words their numbers.

    Raises:
        InputError: there are not as many ids as texts, or an id comes twice.
    """

    def __init__(self, ids: Sequence[str], texts: Sequence[str], vocabulary: Vocabulary) -> None:
        if len(ids) != len(texts):
            raise InputError(f"a word store needs a text per id: {len(ids)} ids, {len(texts)} texts")
        self.ids: list[str] = list(ids)
        self.vocabulary = vocabulary
        self._row_of = {item_id: row for row, item_id in enumerate(self.ids)}
        if len(self._row_of) < len(self.ids):
            twice = next(item_id for row, item_id in enumerate(self.ids) if self._row_of[item_id] != row)
            raise InputError(f"text {twice!r} comes twice; give each text its own id")
        words = [np.asarray(vocabulary.ids_of(text), dtype=np.int64) for text in texts]
        self._length_B = np.asarray([len(own) for own in words], dtype=np.int64)
        self._first_B = np.cumsum(self._length_B) - self._length_B
        self._words = np.concatenate(words) if words else np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        """Return the number of captions."""
        return len(self.ids)

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """Return the row of each id as int64 ``[B]``. Raises ``InputError`` for an id that is not there."""
        return rows_by_id(self._row_of, ids, "descriptions.csv: no text", "Run the describe rule again")

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """Return the number of words of each row, markers counted, int64 ``[B]``."""
        return self._length_B[checked_rows(rows, len(self))]

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read captions in the order asked; a row may be asked for more than once.

        Args:
            rows: integers ``[B]`` from :meth:`rows_of`.

        Returns:
            words int64 ``[B, Lmax]``, ``<pad>`` after a caption's end, and keep bool ``[B, Lmax]``, true on real words.

        Raises:
            IndexError: a row is not in the store.
        """
        rows = checked_rows(rows, len(self))
        length_B = self._length_B[rows]
        places_L = np.arange(int(length_B.max(initial=0)))
        keep_BL = places_L[None, :] < length_B[:, None]
        words_BL = np.full(keep_BL.shape, PAD, dtype=np.int64)
        words_BL[keep_BL] = self._words[(self._first_B[rows][:, None] + places_L)[keep_BL]]
        return words_BL, keep_BL
