"""Files that are either whole or not there: written under a temporary name, flushed, renamed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it into place when the block ends well.

    Args:
        path: the final file. Its folder is made where missing.

    Yields:
        A path in the same folder, to be written and closed inside the block.

    Raises:
        OSError: from the block or the rename (a full disk, say); the temporary file is then removed and an
            older file under ``path`` is left as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, line ends as they are, atomically. Raises ``OSError`` and leaves no half file."""
    with replacing(path) as part:
        part.write_bytes(text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with sorted keys, atomically.

    Raises:
        ValueError: a number is not finite (JSON has no word for it).
        OSError: the file cannot be written; nothing is left behind.
    """
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write ``frame`` as CSV without its index, atomically. Raises ``OSError`` and leaves no half file."""
    with replacing(path) as part:
        frame.to_csv(part, index=False, lineterminator="\n")


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes, read in pieces of 1 MiB. Raises ``OSError``."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def digest_of(value: Any) -> str:
    """Return 16 hex digits that name a JSON-able value: equal values (key order aside), equal names."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]
