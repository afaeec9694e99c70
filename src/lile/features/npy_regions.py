"""Regions out of the .npy files of SCAN and IMRAM into a token store, as they are but for their number type.

Shards share the items as :mod:`lile.features.extract` does. A row is mapped, looked at and let go, so memory stays flat
whatever the file's size. Copying is as fast as the disk, so a killed job begins its shard anew.

Some exporters fill up images of fewer regions with rows of zeros. Zeros at an item's end are therefore no regions and
are left out: attention would else be paid to them. Zeros before a region stay.

Shapes: R regions of a row, L of them stored, D width.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from lile.data.npy_rows import RegionArray, open_regions, row_at
from lile.errors import InputError
from lile.features.pipeline import share_of
from lile.features.shard_writer import write_store

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

_MEND = "Run the data stage again (rule read_precomputed)"


def store_npy_regions(
    images: pd.DataFrame, out: Path, *, name: str, shard: int = 0, shards: int = 1, code: str | None = None
) -> int:
    """Store the regions of one shard of images under their ``image_id``.

    Args:
        images: columns ``image_id`` and ``path``: ``<file>.npy#<row>``, as the kind ``precomputed`` writes it.
        out: the shard's file.
        name: the encoder's name in the config, kept with the tokens.
        shard: which, from 0.
        shards: of how many.
        code: fingerprint of the code, kept with the tokens.

    Returns:
        The number of images stored. How many regions were left out as padding is kept with the tokens
        (``about["padding"]``).

    Raises:
        InputError: a path is no row, a file is missing, damaged or shorter than when it was read, an image has no
            region, or the shard does not exist.
        OSError: the disk is full; nothing is left behind.
    """
    arrays = _arrays_of(images["path"].tolist())
    mine = share_of(images, shard, shards)
    about: dict[str, Any] = {"encoder": name, "library": "npy", "padding": 0}

    def items() -> Iterator[tuple[str, np.ndarray]]:
        rows = zip(mine["image_id"], mine["path"], strict=True)
        for image_id, path in tqdm(rows, total=len(mine), desc=out.name, unit=" images", disable=None):
            regions_RD = _row(path, arrays)
            tokens_LD = regions_RD[: _used(regions_RD)]
            if not len(tokens_LD):
                raise InputError(f"{path}: all regions of {image_id} are zero. {_MEND}: it lists and drops such images")
            about["padding"] += len(regions_RD) - len(tokens_LD)
            yield image_id, tokens_LD

    width = next(iter(arrays.values())).shape[2]
    written = write_store(out, items(), about, code=code, width=width)
    log.info("%s: %d images of width %d; %d regions of zeros left out", out, written, width, about["padding"])
    return written


def _arrays_of(paths: list[str]) -> dict[Path, RegionArray]:
    """Open every file that ``paths`` name."""
    files: dict[Path, None] = {}
    for path in paths:
        place = row_at(path)
        if place is None:
            raise InputError(
                f"{path}: no row of a .npy file. An encoder of library npy reads a dataset of kind precomputed"
            )
        files[place[0]] = None
    return {file: open_regions(file) for file in files}


def _row(path: str, arrays: dict[Path, RegionArray]) -> np.ndarray:
    """Return the regions [R, D] at a place of images.csv."""
    place = row_at(path)
    assert place is not None, path
    file, row = place
    if row >= len(arrays[file]):
        raise InputError(f"{path}: no such row, the file has {len(arrays[file]):,}: it has changed. {_MEND}")
    return arrays[file].window(row, row + 1)[0]


def _used(regions_RD: np.ndarray) -> int:
    """Return how many regions there are before the zeros at the end."""
    filled = np.flatnonzero(regions_RD.any(axis=1))
    return int(filled[-1]) + 1 if len(filled) else 0
