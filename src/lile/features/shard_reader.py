"""Reads the rows of a shard straight from its file into the caller's arrays.

HDF5 says once where the pieces of each table lie; a read is then one call of the system per item, without HDF5's own
copies and without its global lock. The file's position is not used, so a forked process may go on with the same handle.
The file is not mapped into memory: mapped pages count as resident, and one cut short while mapped kills the process.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from lile.errors import InputError
from lile.features.shard import MEND, naming_damage, open_shard, read_index

if TYPE_CHECKING:
    import h5py

    from lile.features.shard_writer import Item


_THREADS = 8  # they wait for the disk side by side, and copy on as many cores as there are
_WORTH_THREADS = 1 << 20  # bytes; less is read sooner than shared out


class ShardReader:
    """The tokens and boxes of one shard.

    Args:
        path: a shard that :func:`lile.features.shard.read_index` has accepted.
        offsets: ``[n + 1]``, first row of each item and the end.

    Raises:
        InputError: the file is missing or damaged.
    """

    def __init__(self, path: Path, offsets: np.ndarray) -> None:
        with open_shard(path) as file, naming_damage(path):
            names = [name for name in ("tokens", "boxes") if name in file]
            self._places = {name: _Places(file[name], offsets, path) for name in names}
        self._path = path
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

    def read(self, table: str, rows: np.ndarray, outs: Iterable[memoryview]) -> None:
        """Fill each of ``outs`` with the rows of an item.

        Args:
            table: ``tokens`` or ``boxes``.
            rows: of the items, in this shard.
            outs: for each item as many bytes as it has.

        Raises:
            InputError: the file has become shorter since it was opened.
        """
        jobs = list(zip(rows.tolist(), self._places[table].item_n[rows].tolist(), outs, strict=True))
        if sum(len(out) for _, _, out in jobs) < _WORTH_THREADS:
            self._read_jobs(table, jobs)
            return
        size = -(-len(jobs) // _THREADS)
        parts = [jobs[start : start + size] for start in range(0, len(jobs), size)]
        for _ in _pool(os.getpid()).map(lambda part: self._read_jobs(table, part), parts):
            pass  # an error of a thread is raised here

    def _read_jobs(self, table: str, jobs: Sequence[tuple[int, int, memoryview]]) -> None:
        """Read items: (row, place in the file or -1, where to)."""
        handle, read = self._handle, os.preadv
        for row, place, out in jobs:
            if place < 0 or read(handle, (out,), place) != len(out):
                self._read_pieces(table, row, out)

    def _read_pieces(self, table: str, row: int, out: memoryview) -> None:
        """Fill ``out`` with an item that lies in several pieces, or that the system gives in several."""
        done = 0
        for place, size in self._places[table].pieces(row):
            end = done + size
            while done < end:
                got = os.preadv(self._handle, (out[done:end],), place + size - (end - done))
                if not got:
                    raise InputError(f"{self._path}: damaged: cut off at {place} of its {table}. {MEND}")
                done += got


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Return this process's threads: a forked child inherits none of its parent's."""
    return ThreadPoolExecutor(_THREADS, thread_name_prefix=f"tokens-{process}")


def bytes_of(array: np.ndarray) -> memoryview:
    """Return the bytes of a contiguous array, to be written into."""
    return array.reshape(-1).view(np.uint8).data


class _Places:
    """Where the items of one table lie in the file: all in one piece, or in chunks of equally many rows.

    Attributes:
        item_n: ``[n]`` int64, where an item begins; -1 for one that lies in several pieces.
    """

    def __init__(self, data: h5py.Dataset, offsets: np.ndarray, path: Path) -> None:
        self._offsets = offsets
        self._row_bytes = data.dtype.itemsize * data.shape[1]
        self._rows = data.chunks[0] if data.chunks else max(1, data.shape[0])
        self._starts = self._starts_of(data, path)
        number_n, inside_n = np.divmod(offsets[:-1], self._rows)
        # Chunks that follow each other in the file, as they mostly do, are one piece.
        breaks = np.concatenate([[0], np.cumsum(np.diff(self._starts) != self._rows * self._row_bytes)])
        whole_n = breaks[number_n] == breaks[(offsets[1:] - 1) // self._rows]
        self.item_n = np.where(whole_n, self._starts[number_n] + inside_n * self._row_bytes, -1)

    def _starts_of(self, data: h5py.Dataset, path: Path) -> np.ndarray:
        """Return where each chunk begins, in bytes."""
        if data.chunks is None:
            return np.array([data.id.get_offset() or 0])
        if data.chunks[1] != data.shape[1] or data.id.get_create_plist().get_nfilters():
            raise InputError(f"{path}: {data.name[1:]} are compressed or cut by columns. {MEND}")
        starts = np.full(-(-data.shape[0] // self._rows), -1, dtype=np.int64)

        def keep(chunk: h5py.h5d.StoreInfo) -> None:
            number = chunk.chunk_offset[0] // self._rows
            if number < len(starts):
                starts[number] = chunk.byte_offset

        data.id.chunk_iter(keep)
        if (starts < 0).any():
            raise InputError(f"{path}: damaged: a piece of its {data.name[1:]} was never written. {MEND}")
        return starts

    def pieces(self, row: int) -> Iterator[tuple[int, int]]:
        """Yield (place in the file, bytes) of the pieces that together are an item."""
        start, stop = int(self._offsets[row]), int(self._offsets[row + 1])
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
    with ShardReader(path, index.offsets) as reader:
        for row, item_id in enumerate(index.ids):
            length = int(index.offsets[row + 1] - index.offsets[row])
            tokens = np.empty((length, index.width), dtype=np.float16)
            reader.read("tokens", np.array([row]), [bytes_of(tokens)])
            if not index.boxes:
                index.check(row, tokens)
                yield item_id, tokens
                continue
            boxes = np.empty((length, 4), dtype=np.float32)
            reader.read("boxes", np.array([row]), [bytes_of(boxes)])
            index.check(row, tokens, boxes)
            yield item_id, tokens, boxes
