"""Reads the rows of a shard straight from its file into the caller's arrays.

HDF5 says once where the pieces of each table lie; a read is then one call of the system per item, without HDF5's own
copies and without its global lock. The file's position is not used, so a forked process may go on with the same handle.
The file is not mapped into memory: mapped pages count as resident, and one cut short while mapped kills the process.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from lile.errors import InputError
from lile.features.shard import MEND, naming_damage, open_shard, read_index
from lile.features.shard_writer import Item

if TYPE_CHECKING:
    import h5py


class ShardReader:
    """The tokens and boxes of one shard.

    Args:
        path: a shard that :func:`lile.features.shard.read_index` has accepted.

    Raises:
        InputError: the file is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        with open_shard(path) as file, naming_damage(path):
            places = {name: _Places(file[name], path) for name in ("tokens", "boxes") if name in file}
        self._path = path
        self._places = places
        self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        self._closed = weakref.finalize(self, os.close, self._handle)

    def __enter__(self) -> Self:
        """Give the reader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self._closed()

    def read(self, table: str, start: int, out: np.ndarray) -> None:
        """Fill ``out`` with rows of a table.

        Args:
            table: ``tokens`` or ``boxes``.
            start: the first row.
            out: contiguous ``[rows, width]`` of the table's own type.

        Raises:
            InputError: the file has become shorter since it was opened.
        """
        done = 0
        view = out.reshape(-1).view(np.uint8).data
        for place, size in self._places[table].pieces(start, len(out)):
            end = done + size
            while done < end:
                got = os.preadv(self._handle, [view[done:end]], place + size - (end - done))
                if not got:
                    raise InputError(f"{self._path}: damaged: cut off at {place} of its {table}. {MEND}")
                done += got


class _Places:
    """Where the rows of one table lie in the file: all in one piece, or in chunks of equally many rows."""

    def __init__(self, data: h5py.Dataset, path: Path) -> None:
        self._row_bytes = data.dtype.itemsize * data.shape[1]
        if data.chunks is None:
            self._rows, self._starts = max(1, data.shape[0]), np.array([data.id.get_offset() or 0])
            return
        if data.chunks[1] != data.shape[1] or data.id.get_create_plist().get_nfilters():
            raise InputError(f"{path}: {data.name[1:]} are compressed or cut by columns. {MEND}")
        self._rows = data.chunks[0]
        self._starts = np.full(-(-data.shape[0] // self._rows), -1, dtype=np.int64)
        data.id.chunk_iter(self._keep)
        if (self._starts < 0).any():
            raise InputError(f"{path}: damaged: a piece of its {data.name[1:]} was never written. {MEND}")

    def _keep(self, chunk: h5py.h5d.StoreInfo) -> None:
        number = chunk.chunk_offset[0] // self._rows
        if number < len(self._starts):
            self._starts[number] = chunk.byte_offset

    def pieces(self, start: int, count: int) -> Iterator[tuple[int, int]]:
        """Yield (place in the file, bytes) that together hold ``count`` rows from ``start`` on."""
        stop = start + count
        while start < stop:
            number, inside = divmod(start, self._rows)
            rows = min(stop - start, self._rows - inside)
            yield int(self._starts[number]) + inside * self._row_bytes, rows * self._row_bytes
            start += rows


def read_items(path: Path) -> Iterator[Item]:
    """Yield the items of a shard in file order, each compared with its sums.

    Raises:
        InputError: the file is missing or damaged.
    """
    index = read_index(path)
    with ShardReader(path) as reader:
        for row, item_id in enumerate(index.ids):
            first, length = int(index.offsets[row]), int(index.offsets[row + 1] - index.offsets[row])
            tokens = np.empty((length, index.width), dtype=np.float16)
            reader.read("tokens", first, tokens)
            if not index.boxes:
                index.check(row, tokens)
                yield item_id, tokens
                continue
            boxes = np.empty((length, 4), dtype=np.float32)
            reader.read("boxes", first, boxes)
            index.check(row, tokens, boxes)
            yield item_id, tokens, boxes
