"""Token stores: ragged sets of encoder tokens on disk, written as a stream and read in random batches.

A store is one or more shards (see :mod:`lile.features.shard`) that behave as one list of items. Only the index (ids and
offsets) is held in memory; files are opened on the first read of each process, so a store may be pickled or forked.

Shapes: B items asked for, L tokens of an item, H encoder width, R rows of a shard.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lile.errors import InputError
from lile.features.rows import checked_rows, rows_by_id
from lile.features.shard import check_same_origin, open_shard, read_index
from lile.features.shard_writer import write_store

if TYPE_CHECKING:
    import h5py

__all__ = ["TokenStore", "write_store"]

_GAP_BYTES = 1 << 16  # rows this near each other are cheaper to read than to skip
_SPAN_BYTES = 1 << 26  # one read never holds more than this, or one item
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
        self._shard_B = np.repeat(np.arange(len(shards)), [len(shard.ids) for shard in shards])
        self._first_B = np.concatenate([shard.offsets[:-1] for shard in shards])
        self._length_B = np.concatenate([np.diff(shard.offsets) for shard in shards])
        self._files: dict[int, h5py.File] = {}
        self._process = os.getpid()

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
        return {**self.__dict__, "_files": {}}

    def close(self) -> None:
        """Close the files that this process opened; the next read opens them again."""
        for file in self._files.values():
            file.close()
        self._files = {}

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
            InputError: the file has been damaged since it was opened.
        """
        rows = checked_rows(rows, len(self))
        shard_B, first_B, length_B = self._shard_B[rows], self._first_B[rows], self._length_B[rows]
        longest = int(length_B.max(initial=0))
        tokens_BLH = np.zeros((len(rows), longest, self.width), dtype=np.float16)
        for shard, places in self._runs(shard_B, first_B, length_B):
            start = first_B[places[0]]
            stop = (first_B[places] + length_B[places]).max()
            block = self._read_rows(shard, int(start), int(stop))
            for place in places:
                offset = first_B[place] - start
                tokens_BLH[place, : length_B[place]] = block[offset : offset + length_B[place]]
        return tokens_BLH, np.arange(longest)[None, :] < length_B[:, None]

    def _runs(self, shard_B: np.ndarray, first_B: np.ndarray, length_B: np.ndarray) -> Iterator[tuple[int, list[int]]]:
        """Yield (shard, places in the batch) such that each run's items lie close together, in file order."""
        gap, span = (max(1, size // (2 * max(1, self.width))) for size in (_GAP_BYTES, _SPAN_BYTES))
        run: list[int] = []
        stop = 0
        for place in np.lexsort((first_B, shard_B)).tolist():
            first, end = int(first_B[place]), int(first_B[place] + length_B[place])
            near = bool(run) and shard_B[run[0]] == shard_B[place] and first - stop <= gap
            if run and not (near and end - first_B[run[0]] <= span):
                yield int(shard_B[run[0]]), run
                run, stop = [], 0
            run.append(place)
            stop = max(stop, end)
        if run:
            yield int(shard_B[run[0]]), run

    def _read_rows(self, shard: int, start: int, stop: int) -> np.ndarray:
        if self._process != os.getpid():  # after a fork: the parent's handles are not ours to use or close
            self._files, self._process = {}, os.getpid()
        if shard not in self._files:
            self._files[shard] = open_shard(self.paths[shard])
        try:
            tokens = self._files[shard]["tokens"][start:stop]
            return _with_geometry(tokens, self._files[shard]["boxes"][start:stop]) if self._geometry else tokens
        except (OSError, KeyError) as error:
            raise InputError(
                f"{self.paths[shard]}: damaged ({error}). Remove it and run the features rule again"
            ) from error


def _with_geometry(tokens_RH: np.ndarray, boxes_R4: np.ndarray) -> np.ndarray:
    """Return float16 ``[R, H + 5]``: the tokens, then each one's box and its area."""
    area_R1 = (boxes_R4[:, 2:3] - boxes_R4[:, :1]) * (boxes_R4[:, 3:] - boxes_R4[:, 1:2])
    return np.concatenate([tokens_RH, boxes_R4.astype(np.float16), area_R1.astype(np.float16)], axis=1)
