"""Token stores: ragged sets of encoder tokens on disk, written as a stream and read in random batches.

A store is one or more shards (see :mod:`lile.features.shard`) that behave as one list of items. Only the index (ids and
offsets) is held in memory; files are opened on the first read of each process, so a store may be pickled or forked.

An item is compared with the sums of what was written when it is read for the first time.

Shapes: B items, asked for or of the store; L tokens of an item; H encoder width; S shards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from lile.errors import InputError
from lile.features.rows import checked_rows, rows_by_id
from lile.features.shard import check_same_origin, read_index
from lile.features.shard_reader import ShardReader, bytes_of

GEOMETRY = 5
"""Columns that a token's box adds to it: x1, y1, x2, y2 and the area."""


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
        self.width: int = shards[0].width + GEOMETRY * geometry
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
        keep_BL = np.arange(int(length_B.max(initial=0)))[None, :] < length_B[:, None]
        tokens_BLH = self._table("tokens", rows, keep_BL, self.width - GEOMETRY * self._geometry, np.float16)
        if not self._geometry:
            self._check(rows, length_B, tokens_BLH)
            return tokens_BLH, keep_BL
        boxes_BL4 = self._table("boxes", rows, keep_BL, 4, np.float32)
        self._check(rows, length_B, tokens_BLH, boxes_BL4)
        return _with_geometry(tokens_BLH, boxes_BL4), keep_BL

    def _table(self, table: str, rows: np.ndarray, keep_BL: np.ndarray, width: int, kind: type) -> np.ndarray:
        """Read one table's part of the items, ``[B, L, width]``, each straight into its place."""
        out_BLW = np.empty((*keep_BL.shape, width), dtype=kind)
        view, row_bytes = bytes_of(out_BLW), width * out_BLW.itemsize
        first_B = np.arange(len(rows)) * keep_BL.shape[1] * row_bytes
        stop_B = first_B + self._length_B[rows] * row_bytes
        order = np.argsort(rows, kind="stable")  # the order of the files: disks like that
        for shard, places in _by_shard(self._shard_B[rows[order]], order):
            if shard not in self._readers:
                self._readers[shard] = ShardReader(self._shards[shard].path, self._shards[shard].offsets)
            bounds = zip(first_B[places].tolist(), stop_B[places].tolist(), strict=True)
            own = rows[places] - self._start_S[shard]
            self._readers[shard].read(table, own, (view[first:stop] for first, stop in bounds))
        if not keep_BL.all():
            out_BLW[~keep_BL] = 0
        return out_BLW

    def _check(self, rows: np.ndarray, length_B: np.ndarray, *tables_BLW: np.ndarray) -> None:
        """Compare each item that is read for the first time with the sums of what was written."""
        for place in np.flatnonzero(~self._checked_B[rows]).tolist():
            row, length = int(rows[place]), int(length_B[place])
            shard = int(self._shard_B[row])
            self._shards[shard].check(row - int(self._start_S[shard]), *(table[place, :length] for table in tables_BLW))
            self._checked_B[row] = True


def _by_shard(shard_B: np.ndarray, order: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each shard of the sorted ``shard_B`` with its part of ``order``."""
    if len(shard_B):
        cuts = np.flatnonzero(np.diff(shard_B)) + 1
        for part in np.split(np.arange(len(order)), cuts):
            yield int(shard_B[part[0]]), order[part]


def _with_geometry(tokens_BLH: np.ndarray, boxes_BL4: np.ndarray) -> np.ndarray:
    """Return ``[B, L, H + 5]``: the tokens, then each one's box and its area."""
    low, high = boxes_BL4[..., :2], boxes_BL4[..., 2:]
    area_BL1 = (high - low).prod(axis=2, keepdims=True)
    return np.concatenate([tokens_BLH, boxes_BL4.astype(np.float16), area_BL1.astype(np.float16)], axis=2)
