"""Labelled pictures as people have them: folders of classes, a table, or NCT-CRC-HE-100K. No picture is opened here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lile.data import nct_crc
from lile.data.records import SPLIT_WORDS
from lile.data.rows import Row, read_rows
from lile.errors import InputError
from lile.pretraining.config import DataConfig

PICTURES = frozenset({".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Endings of files that are taken for pictures, in lower case."""

TRAIN, HELD_OUT = "train", "held_out"

_BESIDE, _NO_PICTURE = "outside_of_classes", "not_a_picture"  # of files that nobody meant to be pictures

_HELD_OUT_WORDS = {word: TRAIN if split == "train" else HELD_OUT for word, split in SPLIT_WORDS.items() if word}
_HELD_OUT_WORDS |= {"held_out": HELD_OUT, "held-out": HELD_OUT}


class Item(NamedTuple):
    """One labelled picture."""

    path: str
    name: str
    """Its path below the data's root: what digests and lists call it, wherever the data lie."""
    label: str
    group: str = ""
    """Slide or patient; empty where it is not known."""
    split: str = ""
    """``train`` or ``held_out``, as the data say it; empty where they do not."""


class Finding(NamedTuple):
    """One line of report.csv: a picture, a row or a file that was left out, or that a person should know of."""

    name: str
    label: str
    status: str
    """``dropped`` or ``warned``."""
    reason: str
    detail: str


@dataclass
class Listing:
    """What the data name."""

    source: str
    """For messages and the record."""
    items: list[Item] = field(default_factory=list)
    report: list[Finding] = field(default_factory=list)
    grouped: bool = False
    """Whether the data name slides or patients."""
    split: bool = False
    """Whether the data name their held-out part."""

    @property
    def named(self) -> int:
        """How many pictures the data name, with those that are left out."""
        return len(self.items) + sum(line.reason not in (_BESIDE, _NO_PICTURE) for line in self.report)

    def drop(self, name: str, label: str, reason: str, detail: str) -> None:
        """Note what is left out."""
        self.report.append(Finding(name, label, "dropped", reason, " ".join(detail.split())[:300]))


def list_pictures(data: DataConfig) -> Listing:
    """List the labelled pictures that a config names, sorted by name.

    Raises:
        InputError: a folder, table or column is missing, a class has no picture, or a split word is unknown.
    """
    listing = {"folder": _folder, "csv": _table, "nct_crc": _nct_crc}[data.kind](data)
    listing.items.sort(key=lambda item: item.name)
    if not listing.items:
        first = "".join(f"; first {line.name}: {line.reason}, {line.detail}" for line in listing.report[:1])
        found = f"{len(listing.report)} rows or files left out{first}"
        raise InputError(f"{listing.source}: no labelled picture found; {found}")
    return listing


def _folder(data: DataConfig) -> Listing:
    root = Path(str(data.root))
    listing = Listing(str(root), grouped=data.group_pattern is not None)
    for item in _classes(root, root, listing):
        if data.group_pattern is None:
            listing.items.append(item)
        elif found := re.search(data.group_pattern, item.name):
            listing.items.append(item._replace(group=str(found[1])))
        else:
            listing.drop(item.name, item.label, "group_not_found", f"data.group_pattern {data.group_pattern!r}")
    return listing


def _nct_crc(data: DataConfig) -> Listing:
    root = Path(str(data.root))
    folders = {name: nct_crc.folder_of(root, name) for name in nct_crc.PARTS}
    missing = [name for name, folder in folders.items() if folder is None]
    if missing:
        raise InputError(
            f"{root}: {' and '.join(missing)} missing. Download {' and '.join(f'{name}.zip' for name in missing)} from "
            f"{nct_crc.ADDRESS} and unpack into {root}, so that {root / missing[0] / 'TUM'} is a folder of .tif files"
        )
    listing = Listing(str(root), split=True)
    for name, folder in folders.items():
        assert folder is not None
        split = TRAIN if name == nct_crc.TRAIN else HELD_OUT
        # Names as below the folder, so that a digest is the same however the archives were unpacked.
        found = [item._replace(split=split, name=f"{name}/{item.name}") for item in _classes(folder, folder, listing)]
        strange = sorted({item.label for item in found} ^ nct_crc.CLASSES)
        if strange:
            raise InputError(
                f"{folder}: its nine classes are {', '.join(sorted(nct_crc.CLASSES))}; not as expected: "
                f"{', '.join(strange)}. Unpack the archive again, or use kind: folder for other data"
            )
        listing.items += found
    return listing


def _classes(folder: Path, root: Path, listing: Listing) -> Iterator[Item]:
    """Yield the pictures of a folder of classes; what lies beside them is reported. Hidden files are none."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder. Name one with a folder of pictures for each class")
    entries = sorted((entry for entry in os.scandir(folder) if entry.name[0] != "."), key=lambda entry: entry.name)
    empty = []
    for entry in entries:
        if not entry.is_dir():
            listing.drop(os.path.relpath(entry.path, root), "", _BESIDE, "a file beside the classes")
            continue
        count = 0
        for path in _files_below(entry.path):
            name = os.path.relpath(path, root)
            if Path(path).suffix.lower() in PICTURES:
                count += 1
                yield Item(path, name, entry.name)
            else:
                listing.drop(name, entry.name, _NO_PICTURE, "its name has no picture's ending")
        empty += [] if count else [entry.name]
    if empty:
        raise InputError(f"{folder}: no picture in class {', '.join(empty)}; fill or remove these folders")


def _files_below(folder: str) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        yield from (f"{place}{os.sep}{name}" for name in sorted(files) if name[0] != ".")


def _table(data: DataConfig) -> Listing:
    path = Path(str(data.file))
    root = Path(data.root) if data.root is not None else path.parent
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; data.root must be where the image paths in {path} start")
    roles = {role: getattr(data.columns, role) for role in ("image", "label", "group", "split")}
    wanted = {role: name for role, name in roles.items() if name}
    listing = Listing(str(path), grouped="group" in wanted, split="split" in wanted)
    for row in read_rows(path):
        item = _item_of(row, wanted, root, path, listing)
        listing.items += [] if item is None else [item]
    return listing


def _item_of(row: Row, wanted: dict[str, str], root: Path, path: Path, listing: Listing) -> Item | None:
    """Return the picture that a row names; None where it cannot be used, with a line of the report."""
    if row.problem:
        listing.drop(f"row {row.number}", "", "row_malformed", row.problem)
        return None
    missing = [name for name in wanted.values() if name not in row.cells]
    if missing:
        raise InputError(
            f"{path}: row {row.number} has no column {', '.join(missing)}; found {list(row.cells)}. Map them in the "
            "config: data.columns"
        )
    cells = {role: _text(row.cells[name]) for role, name in wanted.items()}
    empty = [role for role in ("image", "label", "split") if role in cells and not cells[role]]
    if empty:
        listing.drop(cells["image"] or f"row {row.number}", "", "cell_empty", f"row {row.number}: no {empty[0]}")
        return None
    split = ""
    if "split" in cells:
        split = _HELD_OUT_WORDS.get(cells["split"].lower(), "")
        if not split:
            words = ", ".join(_HELD_OUT_WORDS)
            raise InputError(f"{path}: row {row.number}: split {cells['split']!r} is unknown; use one of {words}")
    full = os.path.normpath(root / cells["image"])
    return Item(full, os.path.relpath(full, root), cells["label"], cells.get("group", ""), split)


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()
