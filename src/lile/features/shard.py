"""One file of a token store: its layout on disk and the checks that a file must pass before it is believed.

Layout (HDF5): ``tokens [total, H] float16``, ``offsets [n + 1] int64``, ``ids [n]`` UTF-8; item ``i`` owns the rows
``offsets[i]:offsets[i + 1]``. Where tokens are regions, ``boxes [total, 4] float32`` holds (x1, y1, x2, y2) of each as
shares of its picture's width and height. Attributes: ``format``, ``about`` (JSON: who made the tokens) and, where
known, ``code``.

``sums [n, 1 or 2] uint32`` holds the CRC-32 of each item's tokens and, where there are any, of its boxes; the attribute
``index_sum`` is that of all else. Files from before there were sums are read without them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lile.errors import InputError
from lile.files import digest_of, sha256_of

if TYPE_CHECKING:
    import h5py

FORMAT = "lile-tokens/1"
# What must agree for tokens to be interchangeable; the encoder's name and where its weights lay do not matter.
IDENTITY = ("library", "weights_digest", "trainable_blocks", "depth", "transform", "regions")
MEND = "Remove the file and run the features rule again: it makes this shard alone"


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """All of a shard but its tokens.

    Attributes:
        path: the file.
        ids: the items' ids, in file order.
        offsets: ``[n + 1]`` int64, first row of each item and the end.
        width: H.
        boxes: whether each token has its box.
        about: the encoder's ``about()`` at the time of writing.
        sums: ``[n, 1 or 2]`` uint32, CRC-32 of each item's tokens and boxes; ``None`` in a file without them.
    """

    path: Path
    ids: list[str]
    offsets: np.ndarray
    width: int
    boxes: bool
    about: dict[str, Any]
    sums: np.ndarray | None

    @property
    def digest(self) -> str:
        """What names the shard's content: of all but the tokens, for whose bytes their sums stand.

        Of a file without sums it is the file's own SHA-256, which takes reading all of it.
        """
        if self.sums is None:
            return sha256_of(self.path)
        parts = (self.about, self.width, self.boxes, self.ids, self.offsets.tolist(), self.sums.tolist())
        return digest_of([digest_of(part) for part in parts])

    def check(self, row: int, *parts: np.ndarray) -> None:
        """Compare an item's tokens (and boxes) with the sums of what was written.

        Raises:
            InputError: they differ; names file and item.
        """
        if self.sums is None:
            return
        for column, part in enumerate(parts):
            if zlib.crc32(part.data) != int(self.sums[row, column]):
                what = ("tokens", "boxes")[column]
                raise InputError(f"{self.path}: damaged: the {what} of {self.ids[row]!r} are not as written. {MEND}")


def index_sum(about: str, ids: Sequence[str], offsets: np.ndarray, sums: np.ndarray) -> int:
    """Return the CRC-32 of all of a shard but tokens and boxes."""
    found = zlib.crc32(about.encode())
    for part in ("\0".join(ids).encode(), offsets.astype("<i8").data, sums.astype("<u4").data):
        found = zlib.crc32(part, found)
    return found


def open_shard(path: Path) -> h5py.File:
    """Open ``path`` for reading, without HDF5's chunk cache: rows are read once, in large pieces.

    Raises:
        InputError: the file is missing, cut off or no HDF5 file.
    """
    import h5py

    if not path.is_file():
        raise InputError(f"{path}: no such token store. Run the features rule that makes it")
    try:
        return h5py.File(path, "r", rdcc_nbytes=0)
    except OSError as error:
        raise InputError(f"{path}: cut off or no HDF5 file ({error}). {MEND}") from error


def read_index(path: Path) -> ShardIndex:
    """Read and check everything in ``path`` but the tokens.

    Raises:
        InputError: the file is damaged, of another format, or its parts contradict each other.
    """
    with open_shard(path) as file, naming_damage(path):
        found = file.attrs.get("format")
        if found != FORMAT:
            raise InputError(f"{path}: format {found!r}, this version reads {FORMAT!r}. {MEND}")
        tokens, boxes, about = file["tokens"], file.get("boxes"), file.attrs["about"]
        offsets = np.asarray(file["offsets"][...], dtype=np.int64)
        ids = list(file["ids"].asstr()[...])
        sums = np.asarray(file["sums"][...], dtype=np.uint32) if "sums" in file else None
        if sums is not None and index_sum(about, ids, offsets, sums) != file.attrs["index_sum"]:
            raise InputError(f"{path}: damaged: its index is not as written. {MEND}")
        _check_parts(path, tokens, boxes, offsets, ids)
        return ShardIndex(path, ids, offsets, int(tokens.shape[1]), boxes is not None, json.loads(about), sums)


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Turn what HDF5 raises on a damaged file, of many kinds, into an ``InputError`` that names it."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, OSError, RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{path}: damaged ({error}). {MEND}") from error


def _check_parts(
    path: Path, tokens: h5py.Dataset, boxes: h5py.Dataset | None, offsets: np.ndarray, ids: list[str]
) -> None:
    wrong = ""
    if tokens.ndim != 2 or tokens.dtype != np.float16:
        wrong = f"tokens are {tokens.dtype} of shape {tokens.shape}, not float16 [total, H]"
    elif offsets.shape != (len(ids) + 1,):
        wrong = f"{len(ids)} ids but {offsets.size} offsets"
    elif offsets[0] != 0 or offsets[-1] != tokens.shape[0] or (np.diff(offsets) < 1).any():
        wrong = f"offsets do not cut its {tokens.shape[0]} tokens into {len(ids)} items"
    elif boxes is not None and (boxes.shape != (tokens.shape[0], 4) or boxes.dtype != np.float32):
        wrong = f"boxes are {boxes.dtype} of shape {boxes.shape}, not float32 [{tokens.shape[0]}, 4]"
    if wrong:
        raise InputError(f"{path}: damaged: {wrong}. {MEND}")


def check_same_origin(path: Path, found: dict[str, Any], expected: dict[str, Any], by: str) -> None:
    """Refuse tokens that other weights, another cut or another transform made.

    Args:
        path: the shard, for the message.
        found: its ``about``.
        expected: an encoder's ``about()``, or another shard's; only its :data:`IDENTITY` keys are compared.
        by: what ``expected`` describes, for the message.

    Raises:
        InputError: they differ; names both digests, every differing key and what to do.
    """
    expected = json.loads(json.dumps(expected, sort_keys=True))  # a tuple came back from the file as a list
    differing = [key for key in IDENTITY if key in expected and found.get(key) != expected[key]]
    if differing:
        facts = "; ".join(f"{key} {found.get(key)!r} instead of {expected[key]!r}" for key in differing)
        raise InputError(
            f"{path}: tokens made by weights {found.get('weights_digest')}, but {by} has weights "
            f"{expected.get('weights_digest')}: {facts}. {MEND}, or give back the encoder's earlier config"
        )
