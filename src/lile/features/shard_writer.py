"""Writes one shard of a token store as a stream: megabytes in memory, and the file appears only when it is whole."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lile.errors import InputError
from lile.features.shard import FORMAT, index_sum
from lile.files import replacing

if TYPE_CHECKING:
    import h5py

_CHUNK_BYTES = 1 << 20  # of the file's layout, and the size of one write

Item = tuple[str, np.ndarray] | tuple[str, np.ndarray, np.ndarray]
"""An id, its tokens ``[L, H]`` of any float type, L >= 1, and for regions their boxes ``[L, 4]``."""


def write_store(
    path: Path,
    items: Iterable[Item],
    about: dict[str, Any],
    *,
    code: str | None = None,
    width: int | None = None,
) -> int:
    """Write ``items`` as one shard, holding about a megabyte of tokens at a time.

    Args:
        path: the file; it appears only when everything is in it.
        items: (id, tokens ``[L, H]``), stored as float16, or (id, tokens, boxes ``[L, 4]``): (x1, y1, x2, y2) as
            shares of the picture's width and height, 0 to 1. All have boxes or none has.
        about: who made the tokens; kept as JSON in the file's attributes. Read after the last item.
        code: fingerprint of the code that made them, kept beside ``about``.
        width: H; needed only where ``items`` may be empty.

    Returns:
        The number of items written.

    Raises:
        InputError: an item is empty, has another width, is not finite in float16, its boxes are missing or leave the
            picture, or its id comes twice.
        OSError: the disk is full or not writable. Nothing is left behind then.
    """
    with replacing(path) as part:
        writer = _Writer(part, path, about, code)
        try:
            for item in items:
                writer.put(*item)
            writer.finish(width)
        finally:
            writer.close()
    return len(writer.ids)


class _Writer:
    """Appends items to a new HDF5 file."""

    def __init__(self, part: Path, path: Path, about: dict[str, Any], code: str | None) -> None:
        import h5py

        self.path = path
        self.ids: dict[str, None] = {}
        self._offsets = [0]
        self._sums: list[list[int]] = []
        self._about = about
        self._tokens: _Column | None = None
        self._boxes: _Column | None = None
        with _as_os_error(path):
            self._file = h5py.File(part, "w", rdcc_nbytes=0)
            self._file.attrs["format"] = FORMAT
            if code is not None:
                self._file.attrs["code"] = code

    def put(self, item_id: str, tokens: np.ndarray, boxes: np.ndarray | None = None) -> None:
        where = f"{self.path}: item {item_id!r}"
        if not item_id or item_id in self.ids:
            raise InputError(f"{where}: an id must be unique and not empty")
        tokens = _checked_tokens(where, tokens, self._tokens.width if self._tokens else tokens.shape[-1])
        if self._tokens is None:
            self._create(tokens.shape[1], boxes=boxes is not None)
        assert self._tokens is not None
        if (boxes is None) != (self._boxes is None):
            raise InputError(f"{where}: boxes must be given for all items or for none")
        sums = [self._tokens.put(tokens)]
        if boxes is not None and self._boxes is not None:
            sums.append(self._boxes.put(_checked_boxes(where, boxes, len(tokens))))
        self._sums.append(sums)
        self.ids[item_id] = None
        self._offsets.append(self._offsets[-1] + len(tokens))

    def finish(self, width: int | None) -> None:
        import h5py

        if self._tokens is None:
            if width is None:
                raise InputError(f"{self.path}: no items to store")
            self._create(width, boxes=False)
        for column in (self._tokens, self._boxes):
            if column is not None:
                column.flush()
        about = json.dumps(self._about, sort_keys=True, allow_nan=False)
        offsets = np.asarray(self._offsets, dtype=np.int64)
        sums = np.asarray(self._sums, dtype=np.uint32).reshape(len(self.ids), -1 if self.ids else 1)
        with _as_os_error(self.path):
            self._file["offsets"] = offsets
            self._file["sums"] = sums
            self._file.attrs["about"] = about
            self._file.attrs["index_sum"] = index_sum(about, list(self.ids), offsets, sums)
            self._file.create_dataset("ids", data=list(self.ids), dtype=h5py.string_dtype(), shape=(len(self.ids),))
            self._file.flush()

    def close(self) -> None:
        # A file on a full disk cannot be closed properly; `finish` has reported that, and the file is removed.
        with suppress(OSError, RuntimeError):
            self._file.close()

    def _create(self, width: int, *, boxes: bool) -> None:
        self._tokens = _Column(self._file, self.path, "tokens", width, np.dtype(np.float16))
        if boxes:
            self._boxes = _Column(self._file, self.path, "boxes", 4, np.dtype(np.float32))


class _Column:
    """A growing table of the file, written about a chunk at a time."""

    def __init__(self, file: h5py.File, path: Path, name: str, width: int, kind: np.dtype) -> None:
        self.width = width
        self._path = path
        self._pending: list[np.ndarray] = []
        self._waiting = 0
        self._rows = max(1, _CHUNK_BYTES // (kind.itemsize * width))
        with _as_os_error(path):
            self._data: h5py.Dataset = file.create_dataset(
                name, shape=(0, width), maxshape=(None, width), chunks=(self._rows, width), dtype=kind
            )

    def put(self, rows: np.ndarray) -> int:
        """Take an item's rows, and return their CRC-32."""
        self._pending.append(rows)
        self._waiting += len(rows)
        if self._waiting >= self._rows:
            self.flush()
        return zlib.crc32(rows.data)

    def flush(self) -> None:
        if not self._pending:
            return
        start = self._data.shape[0]
        with _as_os_error(self._path):
            self._data.resize(start + self._waiting, axis=0)
            self._data[start:] = np.concatenate(self._pending)
        self._pending, self._waiting = [], 0


def _checked_tokens(where: str, tokens: np.ndarray, width: int) -> np.ndarray:
    """Return an item's tokens as float16 ``[L, width]``. Raises ``InputError``."""
    if tokens.ndim != 2 or 0 in tokens.shape or tokens.shape[1] != width:
        raise InputError(f"{where}: tokens of shape {tokens.shape}, expected [at least 1, {width}]")
    with np.errstate(over="ignore"):
        half = np.ascontiguousarray(tokens, dtype=np.float16)
    # All exponent bits set: infinite or not a number. On the bits this is ten times faster than isfinite.
    if ((half.view(np.uint16) & 0x7C00) == 0x7C00).any():
        raise InputError(f"{where}: a token is not finite or beyond float16 (65504): check the encoder's weights")
    return half


def _checked_boxes(where: str, boxes: np.ndarray, count: int) -> np.ndarray:
    """Return an item's boxes as float32 ``[count, 4]``. Raises ``InputError``."""
    boxes = np.ascontiguousarray(boxes, dtype=np.float32)
    if boxes.shape != (count, 4):
        raise InputError(f"{where}: boxes of shape {boxes.shape} for {count} tokens, expected [{count}, 4]")
    inside = (boxes >= 0).all(axis=1) & (boxes <= 1).all(axis=1) & (boxes[:, :2] <= boxes[:, 2:]).all(axis=1)
    if not inside.all():
        row = int(np.flatnonzero(~inside)[0])
        raise InputError(
            f"{where}: box {row} is {boxes[row].tolist()}, expected x1 <= x2 and y1 <= y2 as shares of the picture's "
            "width and height, 0 to 1. Divide pixels by the picture's size and clip"
        )
    return boxes


@contextmanager
def _as_os_error(path: Path) -> Iterator[None]:
    """HDF5 reports a full disk as ``OSError`` or ``RuntimeError``, by where it strikes: always raise ``OSError``."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        # HDF5's own words run over lines, with addresses in memory among them; the system's are short.
        number = getattr(error, "errno", None)
        found = " ".join(str(error).split()) if number is None else os.strerror(number)
        raise OSError(f"{path}: cannot write the token store ({found}). If the disk is full, make room") from error
