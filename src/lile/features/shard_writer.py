"""Writes one shard of a token store as a stream: a megabyte in memory, and the file appears only when it is whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lile.errors import InputError
from lile.features.shard import FORMAT
from lile.files import replacing

if TYPE_CHECKING:
    import h5py

_CHUNK_BYTES = 1 << 20  # of the file's layout, and the size of one write


def write_store(
    path: Path,
    items: Iterable[tuple[str, np.ndarray]],
    about: dict[str, Any],
    *,
    code: str | None = None,
    width: int | None = None,
) -> int:
    """Write ``items`` as one shard, holding about a megabyte of tokens at a time.

    Args:
        path: the file; it appears only when everything is in it.
        items: pairs (id, tokens ``[L, H]`` of any float type, L >= 1). Stored as float16.
        about: who made the tokens; kept as JSON in the file's attributes.
        code: fingerprint of the code that made them, kept beside ``about``.
        width: H; needed only where ``items`` may be empty.

    Returns:
        The number of items written.

    Raises:
        InputError: an item is empty, has another width, is not finite in float16, or its id comes twice.
        OSError: the disk is full or not writable. Nothing is left behind then.
    """
    with replacing(path) as part:
        writer = _Writer(part, path, about, code)
        try:
            for item_id, tokens in items:
                writer.put(item_id, tokens)
            writer.finish(width)
        finally:
            writer.close()
    return len(writer.ids)


class _Writer:
    """Appends items to a new HDF5 file in writes of about a chunk."""

    def __init__(self, part: Path, path: Path, about: dict[str, Any], code: str | None) -> None:
        import h5py

        self.path = path
        self.ids: dict[str, None] = {}
        self._offsets = [0]
        self._pending: list[np.ndarray] = []
        self._tokens: h5py.Dataset | None = None
        with _as_os_error(path):
            self._file = h5py.File(part, "w", rdcc_nbytes=0)
            self._file.attrs["format"] = FORMAT
            self._file.attrs["about"] = json.dumps(about, sort_keys=True, allow_nan=False)
            if code is not None:
                self._file.attrs["code"] = code

    def put(self, item_id: str, tokens: np.ndarray) -> None:
        tokens = self._checked(item_id, tokens)
        if self._tokens is None:
            self._create(tokens.shape[1])
        self.ids[item_id] = None
        self._offsets.append(self._offsets[-1] + len(tokens))
        self._pending.append(tokens)
        assert self._tokens is not None
        if self._offsets[-1] - self._tokens.shape[0] >= self._tokens.chunks[0]:
            self._flush()

    def finish(self, width: int | None) -> None:
        import h5py

        if self._tokens is None:
            if width is None:
                raise InputError(f"{self.path}: no items to store")
            self._create(width)
        self._flush()
        with _as_os_error(self.path):
            self._file["offsets"] = np.asarray(self._offsets, dtype=np.int64)
            self._file.create_dataset("ids", data=list(self.ids), dtype=h5py.string_dtype(), shape=(len(self.ids),))
            self._file.flush()

    def close(self) -> None:
        # A file on a full disk cannot be closed properly; `finish` has reported that, and the file is removed.
        with suppress(OSError, RuntimeError):
            self._file.close()

    def _checked(self, item_id: str, tokens: np.ndarray) -> np.ndarray:
        where = f"{self.path}: item {item_id!r}"
        if not item_id or item_id in self.ids:
            raise InputError(f"{where}: an id must be unique and not empty")
        width = tokens.shape[-1] if self._tokens is None else self._tokens.shape[1]
        if tokens.ndim != 2 or 0 in tokens.shape or tokens.shape[1] != width:
            raise InputError(f"{where}: tokens of shape {tokens.shape}, expected [at least 1, {width}]")
        with np.errstate(over="ignore"):
            half = np.ascontiguousarray(tokens, dtype=np.float16)
        # All exponent bits set: infinite or not a number. On the bits this is ten times faster than isfinite.
        if ((half.view(np.uint16) & 0x7C00) == 0x7C00).any():
            raise InputError(f"{where}: a token is not finite or beyond float16 (65504): check the encoder's weights")
        return half

    def _create(self, width: int) -> None:
        rows = max(1, _CHUNK_BYTES // (2 * width))
        with _as_os_error(self.path):
            self._tokens = self._file.create_dataset(
                "tokens", shape=(0, width), maxshape=(None, width), chunks=(rows, width), dtype=np.float16
            )

    def _flush(self) -> None:
        if not self._pending:
            return
        assert self._tokens is not None
        block = np.concatenate(self._pending)
        start = self._tokens.shape[0]
        with _as_os_error(self.path):
            self._tokens.resize(start + len(block), axis=0)
            self._tokens[start:] = block
        self._pending.clear()


@contextmanager
def _as_os_error(path: Path) -> Iterator[None]:
    """HDF5 reports a full disk as ``OSError`` or ``RuntimeError``, by where it strikes: always raise ``OSError``."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise OSError(f"{path}: cannot write the token store ({error})") from error
