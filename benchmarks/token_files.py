"""Drawn tokens, and the ways of keeping them on a disk that are compared with LILE's.

Shapes: n items, L tokens of an item, H width, B items of a batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lile.features.segments import write_in_segments
from lile.features.shard_writer import write_store
from lile.features.store import TokenStore

if TYPE_CHECKING:
    import h5py

POOL = 199  # items that are drawn; they come again and again, further apart than any compression looks back
Read = Callable[[np.ndarray], np.ndarray]
"""Rows [B] -> tokens [B, L, H]."""


def drawn(length: int, width: int, pool: int = POOL) -> np.ndarray:
    """Return features as a detector's head leaves them, [pool, L, H]: half of them are zero, after its ReLU."""
    return np.maximum(np.random.default_rng(0).normal(size=(pool, length, width)), 0).astype(np.float16)


def items(pool: np.ndarray, start: int, stop: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the items ``start`` to ``stop - 1``."""
    for number in range(start, stop):
        yield f"coco:{number}", pool[number % len(pool)]


@dataclass(frozen=True)
class Way:
    """A way of keeping tokens."""

    name: str
    write: Callable[[Path, np.ndarray, int], Any]
    """(file, pool, n): everything is on the disk when it returns."""
    open: Callable[[Path], Read]


def ways(segment: int) -> list[Way]:
    """Return what is compared; the first is what the others are measured against."""
    return [
        Way("np.memmap", _write_memmap, _open_memmap),
        Way("LILE", lambda path, pool, n: write_store(path, items(pool, 0, n), {}), _open_lile),
        Way("LILE, in segments", lambda path, pool, n: _in_segments(path, pool, n, segment), _open_lile),
        Way("h5py, LILE's file", lambda path, pool, n: write_store(path, items(pool, 0, n), {}), _open_h5py),
        Way("h5py, an item a chunk", _chunked(), _open_h5py),
        Way("h5py, fletcher32", _chunked(fletcher32=True), _open_h5py),
        Way("h5py, lzf", _chunked(compression="lzf"), _open_h5py),
        Way("h5py, shuffle and lzf", _chunked(compression="lzf", shuffle=True), _open_h5py),
        Way("h5py, gzip 1", _chunked(compression="gzip", compression_opts=1), _open_h5py),
    ]


def forget(path: Path) -> None:
    """Ask the system to drop a file's pages from memory, so that the next reading is the disk's."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)  # pages that wait to be written cannot be dropped
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def _write_memmap(path: Path, pool: np.ndarray, n: int) -> None:
    shape = (n, *pool.shape[1:])
    mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    for number, (_, tokens) in enumerate(items(pool, 0, n)):
        mapped[number] = tokens
    mapped.flush()


def _open_memmap(path: Path) -> Read:
    mapped = np.load(path, mmap_mode="r")
    return lambda rows: mapped[rows]


def _in_segments(path: Path, pool: np.ndarray, n: int, segment: int) -> None:
    write_in_segments(path, n, lambda start, stop: items(pool, start, stop), work=None, segment=segment, about={})


def _open_lile(path: Path) -> Read:
    store = TokenStore([path])
    return lambda rows: store.read(rows)[0]


def _chunked(**filters: Any) -> Callable[[Path, np.ndarray, int], None]:
    def write(path: Path, pool: np.ndarray, n: int) -> None:
        import h5py

        length, width = pool.shape[1:]
        with h5py.File(path, "w", rdcc_nbytes=0) as file:
            shape = (n * length, width)
            data = file.create_dataset("tokens", shape, np.float16, chunks=(length, width), **filters)
            for number, (_, tokens) in enumerate(items(pool, 0, n)):
                data[number * length : (number + 1) * length] = tokens
            file["offsets"] = length * np.arange(n + 1)
        with path.open("rb+") as handle:
            os.fsync(handle.fileno())

    return write


def _open_h5py(path: Path) -> Read:
    import h5py

    file = h5py.File(path, "r", rdcc_nbytes=0)
    data: h5py.Dataset = file["tokens"]
    length = int(file["offsets"][1])

    def read(rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), length, data.shape[1]), np.float16)
        for place in np.argsort(rows).tolist():
            data.read_direct(out, np.s_[rows[place] * length : (rows[place] + 1) * length], np.s_[place])
        return out

    return read
