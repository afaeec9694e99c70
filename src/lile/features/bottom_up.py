"""Regions as bottom-up attention publishes them, out of TSV files into a token store.

A line is an image: its number, size in pixels, number of boxes, and base64 of float32 boxes [n, 4] (x1, y1, x2, y2 in
pixels) and features [n, F]. Source of the format: Anderson et al. (2018), bottom-up attention; other programs write
the same fields in another order with more between them, so the columns are named in the config.

Files are read line by line, which is all that memory holds, whatever their size. Every shard reads all files to their
end but decodes its own lines alone; a store has its items in the files' order.

Shapes: n boxes of an image, F width.
"""

from __future__ import annotations

import binascii
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from lile.errors import InputError
from lile.features.pipeline import share_of
from lile.features.shard_writer import write_store

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

LINE_BYTES = 1 << 26
"""A line is longer only where the file has lost its line ends: 100 boxes of 2,048 numbers are 1.1 MB."""

_OUTSIDE_PX = 1.0  # rounding; boxes further outside belong to another size
_NUMBER = re.compile(r"(\d+)(?:\.[A-Za-z]+)?$")
_CUT = "Is the line cut, or the file damaged? Get the file again"


class Line(NamedTuple):
    """One line, its base64 not yet decoded."""

    where: str
    """File, line number and image, for messages."""
    image: int
    cells: dict[str, bytes]


@dataclass(kw_only=True)
class _Found:
    """What a scan comes across beside the images that it looks for."""

    waiting: dict[int, str]
    """Image number -> id, of those not found yet."""
    repeated: int = 0
    """Lines of an image that was found before; the first holds."""
    others: int = 0
    """Lines of images that the dataset has not."""
    known: frozenset[int] = field(default=frozenset())


def store_bottom_up(
    images: pd.DataFrame,
    files: Sequence[Path],
    columns: Sequence[str],
    out: Path,
    *,
    name: str,
    shard: int = 0,
    shards: int = 1,
    code: str | None = None,
) -> int:
    """Store the regions of one shard of images under their ``image_id``, with their boxes.

    Args:
        images: column ``image_id``; the number at its end is the image's in the files.
        files: TSV files, read in this order.
        columns: of the files, in order; those of :data:`lile.features.libraries.TSV_COLUMNS` must be among them.
        out: the shard's file.
        name: the encoder's name in the config, kept with the tokens.
        shard: which, from 0.
        shards: of how many.
        code: fingerprint of the code, kept with the tokens.

    Returns:
        The number of images stored. Lines passed over are logged as a warning and counted with the tokens
        (``about["repeated"]``, of this shard; ``about["others"]``, of no image of the dataset).

    Raises:
        InputError: ids without number or with the same one, a line that cannot be used (with file, line and image), an
            image that no file has, or the shard does not exist.
        OSError: the disk is full; nothing is left behind.
    """
    numbers = numbers_of(images["image_id"].tolist())
    own = set(share_of(images, shard, shards)["image_id"])
    found = _Found(waiting={n: i for n, i in numbers.items() if i in own}, known=frozenset(numbers))
    about: dict[str, Any] = {"encoder": name, "library": "bottom_up"}
    width = width_of(files[0], columns)

    def items() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        for image_id, line in _own_lines(scan(files, columns), found):
            yield image_id, *decoded(line, width)
        _check_complete(found, len(own), files)
        about.update(repeated=found.repeated, others=found.others)

    written = write_store(out, items(), about, code=code, width=width)
    log.info("%s: %d images of width %d", out, written, width)
    if found.repeated or found.others:
        said = "passed over: %d lines of images that came before (the first holds), %d of no image of the dataset"
        log.warning(said, found.repeated, found.others)
    return written


def number_of(text: str) -> int | None:
    """Return the number at the end of an id, an extension aside: ``coco:42``, ``COCO_val2014_000000000042.jpg``: 42."""
    match = _NUMBER.search(text)
    return int(match[1]) if match else None


def numbers_of(ids: Sequence[str]) -> dict[int, str]:
    """Return the id of each image's number. Raises ``InputError`` where one has none, or two have the same."""
    numbers: dict[int, str] = {}
    for image_id in ids:
        number = number_of(image_id)
        if number is None:
            raise InputError(f"images.csv: {image_id!r} ends in no number, by which TSV files name images")
        other = numbers.setdefault(number, image_id)
        if other != image_id:
            raise InputError(
                f"images.csv: {other!r} and {image_id!r} both end in {number}, so TSV files cannot tell them apart. "
                f"Are these ids, or places in a list? A dataset of kind precomputed needs <split>_ids.txt"
            )
    return numbers


def scan(files: Sequence[Path], columns: Sequence[str]) -> Iterator[Line]:
    """Yield every line of all files, in order, with a progress bar of bytes.

    Raises:
        InputError: a file is missing or empty, or a line has not as many columns, no image number, or no end.
    """
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise InputError(f"{missing[0]}: no such file; {len(missing)} of {len(files)} TSV files are missing")
    size = sum(file.stat().st_size for file in files)
    with tqdm(total=size, desc="TSV", unit="B", unit_scale=True, disable=None) as bar:
        for file in files:
            yield from _lines(file, columns, bar)


def _lines(file: Path, columns: Sequence[str], bar: tqdm[Any]) -> Iterator[Line]:
    """Yield the lines of a file; blank ones are none."""
    number = 0
    with file.open("rb", buffering=1 << 20) as handle:
        while raw := handle.readline(LINE_BYTES):
            number += 1
            bar.update(len(raw))
            if len(raw) == LINE_BYTES:
                raise InputError(f"{file}: line {number} is longer than {LINE_BYTES >> 20} MB; is it a TSV of regions?")
            if raw.strip():
                yield _line(f"{file}: line {number}", raw.rstrip(b"\r\n").split(b"\t"), columns)
    if not number:
        raise InputError(f"{file}: the file is empty")


def _line(where: str, cells: list[bytes], columns: Sequence[str]) -> Line:
    """Name the cells of a line."""
    image = cells[columns.index("image_id")] if len(cells) > columns.index("image_id") else b""
    label = image[:40].decode("utf-8", "replace")
    if len(cells) != len(columns):
        raise InputError(
            f"{where}, image {label!r}: {len(cells)} columns, but the config names {len(columns)} "
            f"({', '.join(columns)}). Set columns as the file has them. {_CUT}"
        )
    number = number_of(label)
    if number is None:
        raise InputError(f"{where}: image_id {label!r} ends in no number. Is it a header? Remove it, or set columns")
    return Line(f"{where}, image {label}", number, dict(zip(columns, cells, strict=True)))


def _own_lines(lines: Iterator[Line], found: _Found) -> Iterator[tuple[str, Line]]:
    """Yield the first line of each image that is looked for, with the image's id, and count the others."""
    wanted = frozenset(found.waiting)
    for line in lines:
        image_id = found.waiting.pop(line.image, None)
        if image_id is not None:
            yield image_id, line
        else:
            found.repeated += line.image in wanted
            found.others += line.image not in found.known


def _check_complete(found: _Found, images: int, files: Sequence[Path]) -> None:
    """Raise ``InputError`` where images were not found."""
    if found.waiting:
        firsts = ", ".join(list(found.waiting.values())[:3])
        raise InputError(
            f"{len(found.waiting)} of {images} images are in none of {', '.join(map(str, files))}: {firsts}. Name all "
            f"files of the dataset's splits (COCO: trainval), or leave these images out of the dataset"
        )


def width_of(file: Path, columns: Sequence[str]) -> int:
    """Return F of a file's first line. Raises ``InputError`` as :func:`scan` and :func:`decoded` do."""
    line = next(scan([file], columns), None)
    if line is None:
        raise InputError(f"{file}: no line with regions")
    count = _count(line, "num_boxes")
    return max(1, len(_numbers(line, "features")) // count)


def decoded(line: Line, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Decode a line.

    Args:
        line: from :func:`scan`.
        width: F that all lines must have.

    Returns:
        features float32 [n, F] and boxes float32 [n, 4]: x1, y1, x2, y2 as shares of the image's width and height.

    Raises:
        InputError: broken base64, lengths that do not fit, another width, or boxes outside the image.
    """
    count = _count(line, "num_boxes")
    features, boxes_px = _numbers(line, "features"), _numbers(line, "boxes")
    if len(boxes_px) != 4 * count:
        raise InputError(f"{line.where}: boxes hold {len(boxes_px)} numbers, not 4 of {count} boxes each. {_CUT}")
    if len(features) != width * count:
        raise InputError(
            f"{line.where}: features hold {len(features)} numbers, not {width} of {count} boxes each; the first line "
            f"has width {width}. {_CUT}"
        )
    if not (np.abs(features) <= np.finfo(np.float16).max).all():
        raise InputError(f"{line.where}: a feature is not finite or beyond float16 (65504), the store's type. {_CUT}")
    return features.reshape(count, width), _shares(line, boxes_px.reshape(count, 4))


def _count(line: Line, column: str) -> int:
    """Return a cell that holds a positive whole number."""
    cell = line.cells[column][:40]
    if not cell.isdigit() or int(cell) < 1:
        said = cell.decode("utf-8", "replace")
        raise InputError(f"{line.where}: {column} is {said!r}, not a number above 0. Set columns as the file has them")
    return int(cell)


def _numbers(line: Line, column: str) -> np.ndarray:
    """Return the float32 numbers of a base64 cell."""
    try:
        return np.frombuffer(binascii.a2b_base64(line.cells[column], strict_mode=True), "<f4")
    except (binascii.Error, ValueError) as error:  # the second: bytes that are no whole numbers
        raise InputError(f"{line.where}: {column}: broken base64 ({error}). {_CUT}") from error


def _shares(line: Line, boxes_px: np.ndarray) -> np.ndarray:
    """Return boxes in pixels as shares of the image's sides."""
    sides = np.array([_count(line, "image_w"), _count(line, "image_h")] * 2, np.float32)
    inside = (boxes_px >= -_OUTSIDE_PX).all() and (boxes_px <= sides + _OUTSIDE_PX).all()
    if not inside or (boxes_px[:, :2] > boxes_px[:, 2:]).any():
        raise InputError(
            f"{line.where}: a box is not within the image, {sides[0]:g} x {sides[1]:g} pixels. Does the file have "
            f"image_h before image_w? Set columns"
        )
    return np.clip(boxes_px / sides, 0, 1)
