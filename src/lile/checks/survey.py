"""What a dataset holds, counted without opening its images: enough to check data and splits."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lile.data.arch import SETS, find_set
from lile.data.coco import image_folders, read_split
from lile.data.limit import FirstImages
from lile.data.pairs import columns_of
from lile.data.precomputed import open_splits
from lile.data.records import SPLIT_WORDS
from lile.data.rows import read_json, read_rows
from lile.errors import InputError

SAMPLE = 20
"""Images named as a sample of all."""
TEXTS = 1000
"""At most so many captions are kept as a sample of all, and at least half as many where there are enough."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Counts of a dataset. Upper bounds: what the data stage will drop is not known yet."""

    rows: int
    captions: int
    images: int
    groups: int
    unreadable_rows: int = 0
    splits: Mapping[str, int] = field(default_factory=dict)
    """Number of images by the word, in lower case, that the table has for their split."""
    sample: Sequence[str] = ()
    """Some of the images, evenly spread over the table: as it writes their paths, or (COCO) where they lie."""
    texts: Sequence[str] = ()
    """Some of the captions, evenly spread over all."""
    regions: tuple[int, int] | None = None
    """Most regions of an image, and their width, where the data are regions."""


class Spread:
    """Keeps texts that are evenly spread over a stream of unknown length, at most :data:`TEXTS`."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._seen, self._step = 0, 1

    def add(self, text: object) -> None:
        """Take the stream's next text."""
        if self._seen % self._step == 0 and isinstance(text, str) and text.strip():
            self.texts.append(text)
            if len(self.texts) == TEXTS:
                self.texts, self._step = self.texts[::2], 2 * self._step
        self._seen += 1


def survey_pairs(block: Mapping[str, Any]) -> Survey:
    """Read a person's table once.

    Args:
        block: a dataset of kind ``pairs``.

    Raises:
        InputError: the table is missing, not what its name says, or lacks a column.
    """
    columns = columns_of(block)
    tally: Counter[str] = Counter()
    found: dict[str, None] = {}
    images: dict[str, str | None] = {}  # the word for its split; None beyond the limit
    groups: set[str] = set()
    first, spread = FirstImages(block.get("limit")), Spread()
    for row in read_rows(Path(block["file"])):
        tally["rows"] += 1
        tally["unreadable"] += bool(row.problem)
        found.update(dict.fromkeys(row.cells))
        cells = {role: row.cells.get(name) if name else None for role, name in columns.items()}
        image = str(cells["image"] or "").strip()
        if image and image not in images:
            word = str(cells["split"] or "").strip().lower()
            images[image] = word if first.takes(SPLIT_WORDS.get(word, word)) else None
        if image and images[image] is not None:
            captions = cells["caption"] if isinstance(cells["caption"], list) else [cells["caption"]]
            tally["captions"] += len(captions)
            for caption in captions:
                spread.add(caption)
            # Without a group column equal captions make groups: never more than images, which is bound enough here.
            groups.add(str(cells["group"] or image))
    _check_columns(str(block["file"]), columns, list(found))
    taken = {image: word for image, word in images.items() if word is not None}
    return Survey(
        rows=tally["rows"],
        captions=tally["captions"],
        images=len(taken),
        groups=len(groups),
        unreadable_rows=tally["unreadable"],
        splits=Counter(taken.values()),
        sample=list(taken)[:: max(1, len(taken) // SAMPLE)][:SAMPLE],
        texts=spread.texts,
    )


def survey_coco(block: Mapping[str, Any]) -> Survey:
    """Read a split file once.

    Args:
        block: a dataset of kind ``coco``.

    Raises:
        InputError: the split file or a folder of images is missing, or is not what it should be.
    """
    split = read_split(Path(block["split_file"]))
    folders = image_folders(block, split.images)
    first = FirstImages(block["limit"])
    taken = [listed for listed in split.images if first.takes(listed.split)]
    spread = Spread()
    for listed in taken:
        for caption in listed.captions[: block["captions_per_image"]]:
            spread.add(caption)
    return Survey(
        rows=len(split.images) + len(split.lost),
        captions=sum(min(len(listed.captions), block["captions_per_image"]) for listed in taken),
        images=len(taken),
        groups=len(taken),
        unreadable_rows=len(split.lost),
        splits=Counter(listed.split for listed in taken),
        sample=[
            str(folders[listed.folder] / listed.filename) for listed in taken[:: max(1, len(taken) // SAMPLE)][:SAMPLE]
        ],
        texts=spread.texts,
    )


def survey_precomputed(block: Mapping[str, Any]) -> Survey:
    """Read the caption files and the headers of the arrays once.

    Args:
        block: a dataset of kind ``precomputed``.

    Raises:
        InputError: a file is missing or damaged, or their counts do not fit.
    """
    first = FirstImages(block["limit"])
    taken: Counter[str] = Counter()
    spread, regions, width = Spread(), 0, 0
    for split in open_splits(block):
        taken[split.name] += sum(first.takes(split.name) for _ in range(len(split)))
        regions, width = max(regions, split.regions.shape[1]), max(width, split.regions.shape[2])
        for caption in split.captions:
            spread.add(caption)
    images = taken.total()
    captions = images * block["captions_per_image"]
    return Survey(
        rows=captions,
        captions=captions,
        images=images,
        groups=images,
        splits=taken,
        texts=spread.texts,
        regions=(regions, width),
    )


def survey_arch(root: Path) -> Survey:
    """Read ARCH's two caption files and list its image folders.

    Args:
        root: the folder with books_set/ and pubmed_set/, found as the reader finds them.

    Raises:
        InputError: a set is missing, or its caption file is no JSON object of objects.
    """
    captions, images, spread = 0, 0, Spread()
    groups: set[str] = set()
    for archive in SETS:
        place = find_set(root, archive)
        path = place / "captions.json"
        rows = read_json(path)
        if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
            raise InputError(f"{path}: an object of objects is needed, as published; this is another file")
        files = {Path(name).stem for name in os.listdir(place / "images")}
        present = [row for row in rows.values() if str(row.get("uuid")) in files]
        captions += len(rows)
        images += len(present)
        for row in present:
            spread.add(row.get("caption"))
        groups.update(f"{archive}/{row.get('figure_id', row.get('uuid'))}" for row in present)
    return Survey(rows=captions, captions=captions, images=images, groups=len(groups), texts=spread.texts)


def _check_columns(file: str, columns: Mapping[str, str | None], found: Sequence[str]) -> None:
    missing = [f"{role}: {name}" for role, name in columns.items() if name and name not in found]
    if missing and found:
        raise InputError(f"{file}: missing column(s) {missing}; found {list(found)}. Map them in the config: columns")
