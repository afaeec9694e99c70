"""ARCH as published: two sets of histopathology images, of textbooks and of PubMed articles, each with one caption.

Source: Gamper and Rajpoot, CVPR 2021. Layout of each set: ``captions.json``, an object of rows by running number, and
``images/<uuid>.<png or jpg>``. The books' rows carry a figure id and a letter; sub-figures of a figure share its
caption, and some captions stand under two or three figure ids. A group here is a connected component of both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lile.data.assemble import SourceCaption, assemble
from lile.data.images import VerifyMode
from lile.data.records import Records, ReportRow
from lile.data.rows import read_json
from lile.errors import InputError

SETS = {"books_set": "books", "pubmed_set": "pubmed"}
"""Folder of each set, and the word its ids begin with."""

ARCHIVES_AT = "warwick.ac.uk/fac/cross_fac/tia/data/arch/"
_SUFFIXES = (".png", ".jpg", ".jpeg")
_KEYS = ("uuid", "caption")


def read_arch(root: Path, verify: VerifyMode, workers: int = 1) -> Records:
    """Read both sets of ARCH.

    Args:
        root: holds ``books_set`` and ``pubmed_set``, or one folder that does; each set may be nested in a folder of
            its own name, as unpacking the archives can leave it.
        verify: how images are looked at, see :func:`lile.data.images.verify_images`.
        workers: processes for that.

    Returns:
        Records; images are called ``books:<uuid>`` and ``pubmed:<uuid>`` and have no split.

    Raises:
        InputError: a set, its captions or its images are missing, or less than half can be used.
    """
    sources: list[SourceCaption] = []
    report: list[ReportRow] = []
    for folder_name, name in SETS.items():
        folder = find_set(root, folder_name)
        files = _image_files(folder / "images")
        for row, value in _rows_of(folder / "captions.json", folder_name):
            taken = _take(row, value, name, folder, files)
            if isinstance(taken, ReportRow):
                report.append(taken)
            else:
                sources.append(taken)
        report += [
            ReportRow(
                "", f"{name}:{uuid}", "", "warned", "image_without_row", f"{file}: no row of captions.json names it"
            )
            for uuid, file in files.items()
        ]
    return assemble(sources, report, verify, workers, str(root))


def find_set(root: Path, folder_name: str) -> Path:
    """Return the folder of a set that holds ``captions.json`` and ``images``, at most one level below its place.

    Args:
        root: see :func:`read_arch`.
        folder_name: ``books_set`` or ``pubmed_set``.

    Raises:
        InputError: it is not there, or not whole; the message says what to fetch and where to put it.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder. {_how_to_fetch(root, folder_name)}")
    below = sorted(path / folder_name for path in root.iterdir() if path.is_dir())
    places = [root / folder_name, *below]
    found = [place for place in places if (place / "captions.json").is_file()]
    if not found:
        raise InputError(f"{root / folder_name}: no captions.json. {_how_to_fetch(root, folder_name)}")
    whole = [place for place in found if (place / "images").is_dir()]
    if not whole:
        raise InputError(f"{found[0] / 'images'}: no such folder. {_how_to_fetch(root, folder_name)}")
    return whole[0]


def _how_to_fetch(root: Path, folder_name: str) -> str:
    """Say what a user has to do to have a set."""
    return (
        f"Fetch {folder_name}.zip from {ARCHIVES_AT} and unpack it so that {root / folder_name} holds captions.json "
        f"and images/, or set root to the folder that has both sets"
    )


def _image_files(folder: Path) -> dict[str, str]:
    """Return the image files of a set by uuid; where one uuid has two files, png before jpg."""
    files: dict[str, str] = {}
    for name in os.listdir(folder):
        stem, suffix = os.path.splitext(name)  # noqa: PTH122 thousands of names, no paths
        if suffix.lower() in _SUFFIXES:
            rival = files.get(stem)
            files[stem] = name if rival is None else min(name, rival, key=_rank)
    return files


def _rank(name: str) -> tuple[int, str]:
    """Order the names of one uuid's files."""
    return _SUFFIXES.index(Path(name).suffix.lower()), name


def _rows_of(path: Path, folder_name: str) -> Iterator[tuple[str, Any]]:
    """Yield the rows of a captions.json with the words that point at them. Raises ``InputError``."""
    value = read_json(path)
    if not isinstance(value, (dict, list)) or not value:
        raise InputError(f"{path}: an object of rows is needed; found {type(value).__name__}, or nothing in it")
    rows = value.items() if isinstance(value, dict) else enumerate(value)
    for key, row in rows:
        yield f"{folder_name}:{key}", row


def _take(row: str, value: Any, name: str, folder: Path, files: dict[str, str]) -> SourceCaption | ReportRow:
    """Turn a row into a caption and strike its image off ``files``, or say why not."""
    missing = [key for key in _KEYS if key not in value] if isinstance(value, Mapping) else list(_KEYS)
    if missing:
        return ReportRow(row, "", "", "dropped", "row_malformed", f"without {', '.join(missing)}")
    uuid = str(value["uuid"]).strip()
    if not uuid.replace("-", "").isalnum():
        return ReportRow(row, "", "", "dropped", "row_malformed", f"no uuid: {uuid[:60]!r}")
    figure = str(value.get("figure_id") or "").strip()
    file = files.pop(uuid, f"{uuid}{'.png' if name == 'books' else '.jpg'}")
    link = f"{name}:figure-{figure}" if figure else ""
    return SourceCaption(row, f"{name}:{uuid}", str(folder / "images" / file), value["caption"], link)
