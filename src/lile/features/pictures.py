"""Pictures of any size, decoded by worker processes ahead of who asks for them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from lile.data.images import load_image
from lile.errors import InputError
from lile.features.pipeline import UNDECODABLE, undecodable


class Pictures:
    """Decoded pictures of a list of files, asked for in pieces.

    Args:
        paths: the files.
        workers: processes that decode; 0: this one does, when asked.
        ahead: pictures that the workers may be ahead, all together.
    """

    def __init__(self, paths: Sequence[str], *, workers: int, ahead: int) -> None:
        self._paths, self._workers = list(paths), workers
        self._each = math.ceil(max(ahead, 2 * workers) / workers) if workers else None
        self._next = -1
        self._coming: Iterator[np.ndarray | str] = iter(())

    def between(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield the pictures from ``start`` to before ``stop``, uint8 ``[height, width, 3]``, in order.

        Where one call begins at the end of the last, the workers have gone on meanwhile; else they start anew.

        Raises:
            InputError: a file cannot be decoded, or a worker died.
        """
        if start != self._next:
            self._next, self._coming = start, iter(self._loader(start))
        for place in range(start, stop):
            picture = self._take(place)
            self._next = place + 1
            yield picture

    def close(self) -> None:
        """End the workers."""
        self._next, self._coming = -1, iter(())

    def _loader(self, start: int) -> DataLoader[np.ndarray | str]:
        files: Any = _Files(self._paths[start:])
        return DataLoader(
            files,
            batch_size=None,
            # Arrays go through pipes: tensors would go through /dev/shm, which is 64 MB in many a container.
            collate_fn=_as_it_is,
            num_workers=self._workers,
            prefetch_factor=self._each,
            # A forked worker would keep the store that is being written open, and HDF5's lock on it.
            multiprocessing_context="spawn" if self._workers else None,
        )

    def _take(self, place: int) -> np.ndarray:
        try:
            picture = next(self._coming)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise InputError(
                f"a process died while it decoded pictures, near {self._paths[place]}: most often memory ran out. "
                f"Give fewer threads ({error})"
            ) from error
        if isinstance(picture, str):
            raise undecodable(self._paths[place], picture)
        return picture


class _Files:
    """What a worker does: a picture by its place, or what is wrong with it: errors can lose their kind on their way."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> np.ndarray | str:
        try:
            return np.array(load_image(Path(self.paths[place])))
        except UNDECODABLE as error:
            return str(error)


def _as_it_is(picture: Any) -> Any:
    return picture
