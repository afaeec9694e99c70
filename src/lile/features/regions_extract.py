"""Runs a Faster R-CNN over a data set and stores its regions.

Shards share the items as :mod:`lile.features.extract` does, and a shard has them in the table's order. Worker processes
decode the pictures; the detector resizes them where it runs. (A decoded picture is a tenth of what it is once resized
to float32, so less passes between processes, and a GPU resizes in no time.)

Only pictures of one padded size go through the detector together (see :mod:`lile.features.region_detector`). Those that
wait for company are held decoded, at most ``_WAITING`` batches of them.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from lile.features.pictures import Pictures
from lile.features.pipeline import share_of
from lile.features.segments import write_showing
from lile.features.shard_writer import Item
from lile.files import digest_of

if TYPE_CHECKING:
    import pandas as pd

    from lile.features.region_detector import RegionDetector, Regions

log = logging.getLogger(__name__)

SEGMENT = 256
"""Images of a piece that is kept when the job is killed: seconds of work on a GPU, up to half an hour on one core."""

_WAITING = 8


def extract_regions(
    images: pd.DataFrame,
    detector: RegionDetector,
    out: Path,
    *,
    name: str,
    work: Path | None = None,
    shard: int = 0,
    shards: int = 1,
    batch_size: int = 8,
    threads: int = 1,
    code: str | None = None,
) -> int:
    """Store the regions of one shard of images under their ``image_id``, with their boxes.

    An image in which nothing is found is stored as one region, the whole picture. Such images are logged as warnings,
    and their number is kept with the tokens (``about["without_boxes"]``).

    Args:
        images: columns ``image_id`` and ``path``.
        detector: is run where it lies.
        out: the shard's file.
        name: the encoder's name in the config, kept with the tokens.
        work: folder that outlives a killed job, named by config and code: the next run goes on from there.
        shard: which, from 0.
        shards: of how many.
        batch_size: images per forward pass, at most.
        threads: processes that decode images beside the forward pass; with 1 this one does.
        code: fingerprint of the code, kept with the tokens.

    Returns:
        The number of images stored.

    Raises:
        InputError: an image cannot be decoded, or the shard does not exist; no half shard is left behind.
        OSError: the disk is full.
    """
    mine = share_of(images, shard, shards)
    ids, paths = mine["image_id"].tolist(), mine["path"].tolist()
    with _Job(detector, ids, paths, batch_size=batch_size, threads=threads) as job:
        return write_showing(
            out,
            len(ids),
            job.items_of,
            unit="images",
            work=work / digest_of([ids, paths, batch_size]) if work else None,
            segment=SEGMENT,
            about={"encoder": name, **detector.about()},
            counts=job.counts,
            code=code,
            width=detector.width,
        )


class _Job:
    """The items of one shard, made piece by piece; a context in which its workers live."""

    def __init__(
        self,
        detector: RegionDetector,
        ids: list[str],
        paths: list[str],
        *,
        batch_size: int,
        threads: int,
    ) -> None:
        self.detector, self.ids, self.batch_size = detector, ids, batch_size
        self._pictures = Pictures(paths, workers=threads if threads > 1 else 0, ahead=2 * batch_size)
        self._without: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pictures.close()

    def items_of(self, start: int, stop: int) -> Iterator[Item]:
        """Yield id, tokens and boxes of the items from ``start`` to before ``stop``."""
        self._without = []
        pictures = self._pictures.between(start, stop)
        found = in_order(self.detector, self.detector.padded_size, pictures, self.batch_size)
        for item_id, regions in zip(self.ids[start:stop], found, strict=True):
            if not regions.found:
                self._without.append(item_id)
            yield item_id, regions.tokens.numpy(), regions.boxes.numpy()
        if self._without:
            log.warning("no box found in %d images, stored whole: %s", len(self._without), self._without[:5])

    def counts(self) -> dict[str, int]:
        """Return what was counted since :meth:`items_of` was last called."""
        return {"without_boxes": len(self._without)}


def in_order(
    regions_of: Callable[[Sequence[Tensor]], list[Regions]],
    size_of: Callable[[int, int], tuple[int, int]],
    pictures: Iterable[np.ndarray],
    batch_size: int,
) -> Iterator[Regions]:
    """Yield the regions of each picture in the order given, however they are grouped on the way.

    A batch runs when it is full, when too many pictures wait, or at the end: which pictures share one depends on
    their sizes and order alone.

    Args:
        regions_of: called with at most ``batch_size`` pictures of one size, uint8 ``[3, height, width]``.
        size_of: from a picture's height and width to what must agree within a batch.
        pictures: uint8 ``[height, width, 3]`` each.
        batch_size: see above.
    """
    waiting: dict[tuple[int, int], list[tuple[int, Tensor]]] = defaultdict(list)
    done: dict[int, Regions] = {}
    given = 0

    def run(size: tuple[int, int]) -> None:
        batch = waiting.pop(size)
        found = regions_of([pixels for _, pixels in batch])
        done.update(zip((place for place, _ in batch), found, strict=True))

    for place, picture in enumerate(pictures):
        size = size_of(*picture.shape[:2])
        waiting[size].append((place, torch.from_numpy(picture).permute(2, 0, 1)))
        if len(waiting[size]) == batch_size:
            run(size)
        elif sum(map(len, waiting.values())) >= _WAITING * batch_size:
            run(max(waiting, key=lambda size: len(waiting[size])))
        while given in done:
            yield done.pop(given)
            given += 1
    for size in list(waiting):
        run(size)
    yield from (done[place] for place in sorted(done))
