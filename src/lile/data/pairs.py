"""A person's own image-caption pairs: a table that names an image and a caption per row.

Decisions where a table may be read in two ways:

- Rows that name the same file, also through a link or another spelling, are captions of one image. Where they give it
  two ids, the first holds and the others are reported (``image_named_twice``): kept apart, the same image could stand
  in training and in test.
- An id given to a second file is a mistake that cannot be mended by guessing: these rows are dropped (``id_repeated``).
- An image that rows put in two splits stays in the first (``split_conflict``).
- Without a group column, images that share a caption are one group. With one, the column decides, and rows of one image
  tie their groups together; an empty cell makes a group of its own.
- A limit counts the images that the file names, before any is opened: which are read depends on the file alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lile.data.assemble import SourceCaption, assemble
from lile.data.captions import clean_caption
from lile.data.images import VerifyMode
from lile.data.limit import FirstImages
from lile.data.records import SPLIT_WORDS, Records, ReportRow
from lile.data.rows import Row, read_rows
from lile.errors import InputError
from lile.files import digest_of

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_ROLES = ("image", "caption", "group", "split", "id")


def read_pairs(cfg: Mapping[str, Any], verify: VerifyMode, workers: int = 1) -> Records:
    """Read a dataset of kind ``pairs``.

    Args:
        cfg: ``file`` (.csv, .tsv, .jsonl or .json), optional ``root`` (where image paths start and must stay; default:
            the file's folder) and optional ``columns``: what the file calls ``image``, ``caption``, ``group``,
            ``split`` and ``id``. Image and caption are called so by default; a role set to ``None`` is not in the
            file. ``group`` may name the caption column. A caption cell of JSON may be a list of captions. Optional
            ``limit``: only the first so many images of each split. Optional ``drop_captions``: texts that are no
            captions, compared after cleaning.
        verify: how images are looked at, see :func:`lile.data.images.verify_images`.
        workers: processes for that.

    Returns:
        Records in the file's order. Without an id column an image's id is its path below ``root``.

    Raises:
        InputError: the file or a column is missing, a split has an unknown name, or less than half can be used.
    """
    path = Path(cfg["file"])
    table = _Table(path, Path(cfg.get("root") or path.parent), columns_of(cfg), cfg.get("limit"))
    for row in read_rows(path):
        table.take(row)
    table.check_columns()
    by_text = table.columns["group"] is None
    report = [*table.report, *table.limit.report()]
    excluded = frozenset(clean_caption(text).text for text in cfg.get("drop_captions") or ()) - {""}
    return assemble(table.sources, report, verify, workers, str(path), by_text, excluded)


def columns_of(cfg: Mapping[str, Any]) -> dict[str, str | None]:
    """Return what the file calls each role; ``None`` for a role it does not have. Raises ``InputError``."""
    given = dict(cfg.get("columns") or {})
    if unknown := sorted(set(given) - set(_ROLES)):
        raise InputError(f"columns: {unknown} unknown; roles are {', '.join(_ROLES)}")
    columns = {"image": "image", "caption": "caption", "group": None, "split": None, "id": None} | given
    for role in ("image", "caption"):
        if not columns[role]:
            raise InputError(f"columns: {role} must name a column")
    return {role: columns[role] or None for role in _ROLES}


class _Image(NamedTuple):
    """What the first row of an image said of it."""

    image_id: str
    path: str
    split: str
    taken: bool
    """Whether the limit lets it in."""


class _Table:
    """Takes rows one by one and sorts them into captions and a report."""

    def __init__(self, file: Path, root: Path, columns: dict[str, str | None], limit: int | None) -> None:
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; root must be where the image paths in {file} start")
        self.columns = columns
        self.sources: list[SourceCaption] = []
        self.report: list[ReportRow] = []
        self.limit = FirstImages(limit)
        self._file = file
        self._root = root
        self._real_root = os.path.realpath(root)
        self._real_folders: dict[str, str] = {}
        self._images: dict[str, _Image] = {}  # by real path
        self._owners: dict[str, str] = {}  # image id -> real path
        self._found: dict[str, None] = {}  # column names, in order

    def take(self, row: Row) -> None:
        """Take one row: its captions, or a line of the report. Raises ``InputError`` for an unknown split."""
        if row.problem:
            self._drop(row, "row_malformed", row.problem)
            return
        self._found.update(dict.fromkeys(row.cells))
        value = row.cells.get(str(self.columns["image"]))
        problem = _path_problem(value)
        if problem:
            self._drop(row, *problem)
            return
        named = str(value).strip()
        real = self._real_path(named)
        if not real.startswith(self._real_root.rstrip(os.sep) + os.sep):
            self._drop(row, "path_outside_root", f"{named} is not below {self._root}; set root to a folder above it")
            return
        image = self._image_of(row, named, real)
        if image is not None:
            self._take_captions(row, image)

    def check_columns(self) -> None:
        """Raise ``InputError`` where no row has a column that the config names."""
        missing = [f"{role}: {name}" for role, name in self.columns.items() if name and name not in self._found]
        if missing and self._found:
            raise InputError(
                f"{self._file}: missing column(s) {missing}; found {list(self._found)}. Map them in the config: columns"
            )

    def _take_captions(self, row: Row, image: _Image) -> None:
        """Take the caption of a row, or each of a list of captions."""
        value = row.cells.get(str(self.columns["caption"]))
        link = self._group_of(row)
        for text in value if isinstance(value, list) and value else [value]:
            self.sources.append(SourceCaption(row.number, image.image_id, image.path, text, link, image.split))

    def _group_of(self, row: Row) -> str:
        """Return the link that a group column makes, cleaned like a caption so that spaces make no difference."""
        if self.columns["group"] is None:
            return ""
        value = row.cells.get(self.columns["group"])
        if isinstance(value, list):  # the caption column of a file with several captions per image: all of them
            value = " / ".join(str(part) for part in value)
        text = clean_caption(_as_text(value)).text
        if not text:
            return ""
        return f"group:{text}" if len(text) <= 80 else f"group:{text[:60]}... {digest_of(text)}"

    def _image_of(self, row: Row, named: str, real: str) -> _Image | None:
        """Return the image that a row names, known or new; ``None`` where it is not to be read."""
        image_id = _UNPRINTABLE.sub("", self._cell(row, "id")) or self._path_as_id(named, real)
        split = self._split_of(row)
        known = self._images.get(real)
        if known is None:
            if self._owners.setdefault(image_id, real) != real:
                self._drop(row, "id_repeated", f"{image_id} is also the id of {self._owners[image_id]}")
                return None
            known = self._images[real] = _Image(image_id, str(self._root / named), split, self.limit.takes(split))
        if not known.taken:
            return None
        if known.image_id != image_id:
            self._warn(row, known, "image_named_twice", f"{named}: also {image_id}; the first id holds")
        if split and known.split != split:
            self._warn(row, known, "split_conflict", f"{split} here, {known.split or 'none'} before, which holds")
        return known

    def _path_as_id(self, named: str, real: str) -> str:
        """Return an image's path below the root, without detours."""
        path = os.path.relpath(named, self._root) if os.path.isabs(named) else os.path.normpath(named)  # noqa: PTH117
        return os.path.relpath(real, self._real_root) if path.startswith("..") else path

    def _split_of(self, row: Row) -> str:
        """Return train, validation, test or nothing. Raises ``InputError`` for any other word."""
        word = self._cell(row, "split")
        if word.lower() not in SPLIT_WORDS:
            words = ", ".join(filter(None, SPLIT_WORDS))
            raise InputError(f"{self._file}: row {row.number}: split {word!r} is unknown; use {words}, or nothing")
        return SPLIT_WORDS[word.lower()]

    def _cell(self, row: Row, role: str) -> str:
        """Return the cell of a role as stripped text; empty where the file or the row has none."""
        name = self.columns[role]
        return _as_text(row.cells.get(name)).strip() if name else ""

    def _real_path(self, named: str) -> str:
        """Return where a path leads once links are followed; folders are remembered, a million share few."""
        folder, name = os.path.split(self._root / named)
        if name in ("", ".", ".."):
            return os.path.realpath(self._root / named)
        if folder not in self._real_folders:
            self._real_folders[folder] = os.path.realpath(folder)
        real = f"{self._real_folders[folder]}{os.sep}{name}"
        return os.path.realpath(real) if os.path.islink(real) else real  # noqa: PTH114 a million Path objects are slow

    def _drop(self, row: Row, reason: str, detail: str) -> None:
        """Report a row that is left out."""
        self.report.append(ReportRow(row.number, "", "", "dropped", reason, clean_caption(detail).text[:300]))

    def _warn(self, row: Row, image: _Image, reason: str, detail: str) -> None:
        """Report something odd about a row that stays."""
        self.report.append(
            ReportRow(row.number, image.image_id, "", "warned", reason, clean_caption(detail).text[:300])
        )


def _as_text(value: object) -> str:
    """Return a cell as text; JSON may hold numbers where ids and groups are meant. Nothing for ``None``."""
    return "" if value is None else value if isinstance(value, str) else str(value)


def _path_problem(value: object) -> tuple[str, str] | None:
    """Return why a cell cannot be an image path, or ``None``."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return "path_empty", "the row names no image"
    if not isinstance(value, str):
        return "path_not_text", f"{value!r} is no path"
    if "://" in value:
        return "path_is_address", f"{value}: images are not downloaded; give files"
    if _UNPRINTABLE.search(value.strip()):
        return "path_unprintable", f"{value!r} holds control characters"
    return None
