"""The demo archive: any number of drawn images with captions, streaming, the same whatever the order or the workers.

Items come in blocks of twenty; about one image in six shares its caption with one or two others, as the sub-figures of
a figure in ARCH do. What item i shows depends on (seed, i) alone, so a longer archive begins with the shorter one; only
a figure that the end of the archive cuts has fewer images.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lile.data.synthetic.draw import check_size, draw
from lile.data.synthetic.scene import Scene, scene_for, variant_of
from lile.data.synthetic.words import caption_of
from lile.errors import InputError
from lile.files import write_json
from lile.seeds import seed_for

if TYPE_CHECKING:
    from lile.data.records import Records

log = logging.getLogger(__name__)

LEAST_ITEMS, MOST_ITEMS = 100, 1_000_000
BLOCK = 20
SHARED = ((2,), (3,), (2, 2), (2, 3))
"""Figures of several images in a block, one of these with equal chance: 3.5 of 20 images, 17.5 %."""
PIECE = 5 * BLOCK  # items per task of a worker
ABOUT = "about.json"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


@dataclass(frozen=True, slots=True)
class Item:
    """One image-caption pair, not drawn yet."""

    image_id: str
    """``demo:000123``"""
    file: str
    """``000/000123.png``, below the archive's folder of images."""
    group: str
    """The figure: the id of its first image."""
    caption: str
    scene: Scene
    size_px: int

    def pixels(self) -> np.ndarray:
        """Draw the image: uint8 [size_px, size_px, 3], RGB."""
        return draw(self.scene, self.size_px)


class Row(NamedTuple):
    """What the tables need to know of an item."""

    image_id: str
    file: str
    group: str
    caption: str


def items(seed: int, count: int, size_px: int, name: str = "demo") -> Iterator[Item]:
    """Give the archive's items one after the other, without drawing or keeping them.

    Args:
        seed: of the run.
        count: how many, from 100 to a million.
        size_px: side of the images.
        name: of the dataset; begins every id.

    Raises:
        InputError: an argument cannot be used; at once, not at the first item.
    """
    check_archive(seed, count, size_px)
    return _items_between(0, count, seed, size_px, name)


def check_archive(seed: int, count: int, size_px: int) -> None:
    """Raise ``InputError`` unless there can be such an archive."""
    if seed < 0:
        raise InputError(f"synthetic dataset: seed is {seed}; give 0 or more (the demo's tokenizer was made from -1)")
    if isinstance(count, bool) or not isinstance(count, int) or not LEAST_ITEMS <= count <= MOST_ITEMS:
        raise InputError(
            f"synthetic dataset: items is {count!r}; give a whole number from {LEAST_ITEMS} to {MOST_ITEMS:,}"
        )
    check_size(size_px)


def write_archive(
    images_dir: Path, seed: int, count: int, size_px: int, name: str = "demo", workers: int = 1
) -> Records:
    """Draw the archive into ``images_dir`` and return its records.

    Images that are there already, whole and made by the same seed, size and code, are kept: a run that was stopped goes
    on where it was. Memory holds the table's rows, never the images.

    Args:
        images_dir: made where missing; else empty, or of an earlier run.
        seed: of the run.
        count: how many items, from 100 to a million.
        size_px: side of the images.
        name: of the dataset; begins every id.
        workers: processes that draw.

    Returns:
        Records with ``path`` below ``images_dir`` as it was given, empty splits and an empty report.

    Raises:
        InputError: an argument cannot be used, ``images_dir`` holds something else, or a process died.
        OSError: an image cannot be written; no half image is left.
    """
    from tqdm import tqdm

    check_archive(seed, count, size_px)
    _prepare(images_dir, {"seed": seed, "size_px": size_px, "code": _code_digest()})
    work = partial(_draw_piece, images_dir=images_dir, seed=seed, count=count, size_px=size_px, name=name)
    rows: list[Row] = []
    drawn = 0
    with tqdm(total=count, desc="drawing", unit="image", mininterval=1.0) as bar:
        for piece, fresh in _run(work, range(0, count, PIECE), workers):
            rows += piece
            drawn += fresh
            bar.update(len(piece))
    log.info("%d synthetic images in %s: %d drawn, %d were there", count, images_dir, drawn, count - drawn)
    return _records(rows, images_dir)


def _items_between(start: int, stop: int, seed: int, size_px: int, name: str) -> Iterator[Item]:
    """Items ``start`` (the first of a block) to ``stop``; a figure cut by ``stop`` keeps its caption."""
    assert start % BLOCK == 0
    for block in range(start // BLOCK, -(-stop // BLOCK)):
        first = block * BLOCK
        for size in _figure_sizes(seed, block):
            yield from _figure(seed, first, size, size_px, name)[: max(0, stop - first)]
            first += size


def _figure_sizes(seed: int, block: int) -> list[int]:
    """How many images the figures of a block have, in order; they sum to ``BLOCK``."""
    rng = np.random.default_rng(seed_for(seed, "synthetic", "figures", block))
    shared = SHARED[int(rng.integers(len(SHARED)))]
    sizes = [*shared, *([1] * (BLOCK - sum(shared)))]
    return [sizes[place] for place in rng.permutation(len(sizes))]


def _figure(seed: int, first: int, size: int, size_px: int, name: str) -> list[Item]:
    """The items of one figure: the scene, its variants, and the caption that fits them all."""
    scene = scene_for(seed, first)
    scenes = [scene, *(variant_of(scene, seed, index) for index in range(first + 1, first + size))]
    rng = np.random.default_rng(seed_for(seed, "synthetic", "caption", first))
    caption = caption_of(scene, rng, scenes[1:])
    return [
        Item(
            image_id=f"{name}:{index:06d}",
            file=f"{index // 1000:03d}/{index:06d}.png",
            group=f"{name}:{first:06d}",
            caption=caption,
            scene=each,
            size_px=size_px,
        )
        for index, each in enumerate(scenes, start=first)
    ]


def _draw_piece(start: int, images_dir: Path, seed: int, count: int, size_px: int, name: str) -> tuple[list[Row], int]:
    """Draw the missing images of one piece; return all its rows and how many images were drawn."""
    rows, drawn = [], 0
    for item in _items_between(start, min(start + PIECE, count), seed, size_px, name):
        path = images_dir / item.file
        if not _is_whole(path):
            _save(item.pixels(), path)
            drawn += 1
        rows.append(Row(item.image_id, item.file, item.group, item.caption))
    return rows, drawn


def _is_whole(path: Path) -> bool:
    """Whether a PNG file is there with its end: all that a renamed file can lack after a power cut."""
    try:
        with path.open("rb") as handle:
            handle.seek(-len(_PNG_END), os.SEEK_END)
            return handle.read() == _PNG_END
    except OSError:
        return False


def _save(pixels: np.ndarray, path: Path) -> None:
    """Write a PNG under a temporary name and rename it. Not flushed to the disk one by one: that costs 4 ms each."""
    from PIL import Image

    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(part, format="PNG", compress_level=1)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, f"cannot write the image: {error.strerror or error}", str(path)) from error


def _run(
    work: Callable[[int], tuple[list[Row], int]], starts: Iterable[int], workers: int
) -> Iterator[tuple[list[Row], int]]:
    """Run ``work`` on every start, in order of the starts, in ``workers`` processes."""
    if workers <= 1:
        yield from map(work, starts)
        return
    # spawn, not fork: the parent may hold threads and locks of numpy or pandas.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(work, starts)
        except BrokenProcessPool as error:
            raise InputError(
                "a process died while it drew synthetic images: most often memory ran out. Give fewer threads and "
                "start again; what is drawn is kept"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _prepare(images_dir: Path, about: dict[str, Any]) -> None:
    """Make the folder ready: keep images made in the same way, remove those of another seed, size or code."""
    images_dir.mkdir(parents=True, exist_ok=True)
    note = images_dir / ABOUT
    found = sorted(entry.name for entry in images_dir.iterdir())
    if found and ABOUT not in found:
        raise InputError(
            f"{images_dir}: no folder of synthetic images, but it holds {found[0]!r}; give an empty or new folder"
        )
    write = {"what": "synthetic images drawn by lile; safe to delete", **about}
    if found and _read_about(note) != write:
        log.info("%s: drawn with another seed, size or code; drawing all again", images_dir)
        for folder in images_dir.iterdir():
            if folder.is_dir() and re.fullmatch(r"\d{3}", folder.name):
                shutil.rmtree(folder)
    write_json(note, write)


def _read_about(path: Path) -> Any:
    """What an earlier run noted; None where that cannot be read."""
    import json

    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _code_digest() -> str:
    """16 hex digits that name all that decides an image's bytes besides seed and size."""
    import PIL

    digest = hashlib.sha256(f"numpy {np.__version__} pillow {PIL.__version__}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _records(rows: list[Row], images_dir: Path) -> Records:
    """The two tables, and a report with nothing to report."""
    import pandas as pd

    from lile.data.records import CAPTION_COLUMNS, IMAGE_COLUMNS, REPORT_COLUMNS, Records

    images = [(row.image_id, str(images_dir / row.file), row.group, "") for row in rows]
    captions = [(f"{row.image_id}#0", row.image_id, row.group, row.caption) for row in rows]
    return Records(
        images=pd.DataFrame(images, columns=list(IMAGE_COLUMNS), dtype=str),
        captions=pd.DataFrame(captions, columns=list(CAPTION_COLUMNS), dtype=str),
        report=pd.DataFrame([], columns=list(REPORT_COLUMNS), dtype=str),
    )
