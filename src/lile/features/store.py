"""Token stores: ragged sets of encoder tokens on disk, written as a stream and read in random batches.

A store is one or more shards (see :mod:`lile.features.shard`) that behave as one list of items. Only the index (ids and
offsets) is held in memory; files are opened on the first read of each process, so a store may be pickled or forked.

An item is compared with the sums of what was written when it is read for the first time.

Shapes: B items, asked for or of the store; L tokens of an item; H encoder width; S shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from lile.errors import InputError
from lile.features.rows import checked_rows, rows_by_id
from lile.features.shard import check_same_origin, read_index
from lile.features.shard_reader import ShardReader
from lile.features.shard_writer import write_store

__all__ = ["TokenStore", "write_store"]

_GEOMETRY = 5  # x1, y1, x2, y2 and the area


class TokenStore:
    """Reads one or more shards as one list of items.

    Args:
        paths: the shards; items keep this order.
        expect: an encoder's ``about()``; a shard made by other weights, cut or transform is refused.
        geometry: give each token five columns more: its box's x1, y1, x2, y2 as shares of the picture, and the area.

    Attributes:
        width: of what :meth:`read` gives: H, or H + 5 with the geometry.

    Raises:
        InputError: a shard is missing, damaged or unlike the others, has no boxes where ``geometry`` asks for them,
            an id comes twice, or ``expect`` is not met.
    """

    def __init__(self, paths: Sequence[Path], expect: dict[str, Any] | None = None, geometry: bool = False) -> None:
        if not paths:
            raise InputError("a token store needs at least one shard")
        shards = [read_index(Path(path)) for path in paths]
        for shard in shards:
            if expect is not None:
                check_same_origin(shard.path, shard.about, expect, "the encoder in use")
            check_same_origin(shard.path, shard.about, shards[0].about, f"its fellow shard {shards[0].path}")
            if shard.width != shards[0].width:
                raise InputError(f"{shard.path}: width {shard.width}, but {shards[0].path} has {shards[0].width}")
            if geometry and shard.ids and not shard.boxes:
                raise InputError(
                    f"{shard.path}: has no boxes. Set `boxes: false` for the encoder that reads this store, or make "
                    "the store from a source that gives each region its box"
                )
        self.paths = [shard.path for shard in shards]
        self.about: dict[str, Any] = shards[0].about
        self._geometry = geometry
        self.width: int = shards[0].width + _GEOMETRY * geometry
        self.ids: list[str] = [item_id for shard in shards for item_id in shard.ids]
        self._row_of = {item_id: row for row, item_id in enumerate(self.ids)}
        if len(self._row_of) < len(self.ids):
            twice = next(item_id for row, item_id in enumerate(self.ids) if self._row_of[item_id] != row)
            raise InputError(
                f"{self.paths[0].parent}: item {twice!r} is in two shards: were they made with other counts?"
            )
        sizes = [len(shard.ids) for shard in shards]
        self._shards = shards
        self._start_S = np.cumsum([0, *sizes])
        self._shard_B = np.repeat(np.arange(len(shards)), sizes)
        self._first_B = np.concatenate([shard.offsets[:-1] for shard in shards])
        self._length_B = np.concatenate([np.diff(shard.offsets) for shard in shards])
        self._checked_B = np.zeros(len(self.ids), dtype=bool)
        self._readers: dict[int, ShardReader] = {}

    def __len__(self) -> int:
        """Return the number of items in all shards."""
        return len(self.ids)

    def __enter__(self) -> Self:
        """Give the store itself; files open on the first read."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files behind: they cannot be pickled, and the copy opens its own."""
        return {**self.__dict__, "_readers": {}}

    def close(self) -> None:
        """Close the files that this process opened; the next read opens them again."""
        for reader in self._readers.values():
            reader.close()
        self._readers = {}

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """Return the row of each id as int64 ``[B]``.

        Raises:
            InputError: an id is not in the store.
        """
        mend = "Run the features rule again with all its shards"
        return rows_by_id(self._row_of, ids, f"{self.paths[0].parent}: no tokens", mend)

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """Return the number of tokens of each row, int64 ``[B]``, without reading them."""
        return self._length_B[checked_rows(rows, len(self))]

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read items in the order asked; a row may be asked for more than once.

        Args:
            rows: integers ``[B]`` from :meth:`rows_of`.

        Returns:
            tokens float16 ``[B, Lmax, width]``, zero after an item's end, and keep bool ``[B, Lmax]``, true on real
            tokens.

        Raises:
            IndexError: a row is not in the store.
            InputError: an item is not as it was written, or the file has been cut off since it was opened.
        """
        rows = checked_rows(rows, len(self))
        length_B = self._length_B[rows]
        longest = int(length_B.max(initial=0))
        tokens_BLH = np.empty((len(rows), longest, self.width), dtype=np.float16)
        for place in np.argsort(rows, kind="stable").tolist():  # the order of the files: disks like that
            length = int(length_B[place])
            self._read_item(int(rows[place]), tokens_BLH[place, :length])
            tokens_BLH[place, length:] = 0
        return tokens_BLH, np.arange(longest)[None, :] < length_B[:, None]

    def _read_item(self, row: int, out_LH: np.ndarray) -> None:
        """Fill ``out_LH`` with an item. At its first reading it is compared with its sums."""
        shard = int(self._shard_B[row])
        if shard not in self._readers:
            self._readers[shard] = ShardReader(self.paths[shard])
        reader, start = self._readers[shard], int(self._first_B[row])
        parts = [out_LH]
        if self._geometry:
            parts = [
                np.empty((len(out_LH), self.width - _GEOMETRY), np.float16),
                np.empty((len(out_LH), 4), np.float32),
            ]
            reader.read("boxes", start, parts[1])
        reader.read("tokens", start, parts[0])
        if not self._checked_B[row]:
            self._shards[shard].check(row - int(self._start_S[shard]), *parts)
            self._checked_B[row] = True
        if self._geometry:
            _put_geometry(out_LH, *parts)


def _put_geometry(out_LH: np.ndarray, tokens_LH: np.ndarray, boxes_L4: np.ndarray) -> None:
    """Fill ``out_LH`` with the tokens, then each one's box and its area."""
    out_LH[:, :-_GEOMETRY] = tokens_LH
    out_LH[:, -_GEOMETRY:-1] = boxes_L4
    out_LH[:, -1] = (boxes_L4[:, 2] - boxes_L4[:, 0]) * (boxes_L4[:, 3] - boxes_L4[:, 1])
