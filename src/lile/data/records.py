"""The tables that everything after the data stage reads, whatever the source: images, captions, and what was left out.

Shapes: images.csv one row per image, captions.csv one per whole caption, report.csv one per item dropped or warned of.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lile.errors import InputError
from lile.files import write_csv, write_text

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

IMAGE_COLUMNS = ("image_id", "path", "group", "split")
CAPTION_COLUMNS = ("caption_id", "image_id", "group", "text")
DESCRIPTION_COLUMNS = ("description_id", "caption_id", "image_id", "group", "text", "text_id")
SPLITS = ("train", "validation", "test")
SPLIT_WORDS = {
    "": "", "train": "train", "training": "train", "val": "validation", "dev": "validation", "valid": "validation",
    "validation": "validation", "test": "test", "testing": "test",
}  # fmt: skip
"""Words for a split, in any case, and what they mean here."""
STATUSES = ("kept", "warned", "dropped")
OVER_LIMIT = "over_limit"
"""Reason of the lines that say how many images of a split were left out for the config's ``limit``."""


class ReportRow(NamedTuple):
    """One line of report.csv: an image, a caption or a source row that was dropped or that a person should know of."""

    row: str
    """Where it stands in the source: a line or item number, or ``<set>:<key>``."""
    image_id: str
    caption_id: str
    """Empty where the line speaks of an image; both ids are empty where it speaks of a source row."""
    status: str
    """``dropped`` or ``warned``."""
    reason: str
    detail: str


REPORT_COLUMNS = ReportRow._fields


@dataclass(frozen=True)
class Records:
    """A dataset: all cells are strings, all ids unique, every caption has its image and every image a caption."""

    images: pd.DataFrame
    """:data:`IMAGE_COLUMNS`; ``split`` is empty where the source names none."""
    captions: pd.DataFrame
    """:data:`CAPTION_COLUMNS`; ``text`` is the whole cleaned caption, one line."""
    report: pd.DataFrame
    """:data:`REPORT_COLUMNS`."""


def read_images(path: Path) -> pd.DataFrame:
    """Read images.csv. Raises ``InputError`` where it is no such table or an id stands twice."""
    frame = _read_table(path, IMAGE_COLUMNS, "image_id")
    _check_cells(frame, "split", ("", *SPLITS), str(path))
    return frame


def read_captions(path: Path) -> pd.DataFrame:
    """Read captions.csv. Raises ``InputError`` where it is no such table or an id stands twice."""
    return _read_table(path, CAPTION_COLUMNS, "caption_id")


def read_descriptions(path: Path) -> pd.DataFrame:
    """Read descriptions.csv. Raises ``InputError`` where it is no such table or an id stands twice."""
    return _read_table(path, DESCRIPTION_COLUMNS, "description_id")


def read_folds(path: Path) -> pd.DataFrame:
    """Read folds.csv: ``image_id, fold_0, fold_1, ...``, every cell train, validation or test.

    Raises:
        InputError: it is no such table, an id stands twice, or a cell holds another word.
    """
    frame = _read_table(path, ("image_id", "fold_0"), "image_id")
    folds = list(frame.columns[1:])
    if folds != [f"fold_{number}" for number in range(len(folds))]:
        raise InputError(f"{path}: columns must be image_id, fold_0, fold_1, ...; found {list(frame.columns)}")
    for fold in folds:
        _check_cells(frame, fold, SPLITS, str(path))
    return frame


def write_records(records: Records, folder: Path) -> None:
    """Check ``records`` and write images.csv, captions.csv, report.csv and report.md, each whole or not at all.

    Args:
        records: the dataset.
        folder: made where missing.

    Raises:
        InputError: from :func:`check_records`; nothing is written then.
        OSError: a file cannot be written.
    """
    check_records(records)
    write_csv(folder / "images.csv", records.images)
    write_csv(folder / "captions.csv", records.captions)
    write_csv(folder / "report.csv", records.report)
    write_text(folder / "report.md", report_text(records))
    counts = Counter(records.report["status"])
    log.info(
        "kept %d images with %d captions; %d items dropped, %d warned of: see %s",
        *(len(records.images), len(records.captions), counts["dropped"], counts["warned"], folder / "report.md"),
    )


def check_records(records: Records) -> None:
    """Check what all later stages rely on.

    Raises:
        InputError: a table lacks a column, is empty or holds an empty or repeated id; a caption has no image, an image
            no caption; their groups differ; a split or status is unknown; a text is empty or longer than one line.
    """
    images, captions, report = records.images, records.captions, records.report
    _check_table(images, IMAGE_COLUMNS, "image_id", "images")
    _check_table(captions, CAPTION_COLUMNS, "caption_id", "captions")
    _check_columns(report, REPORT_COLUMNS, "report")
    _check_cells(images, "split", ("", *SPLITS), "images")
    _check_cells(report, "status", STATUSES, "report")
    for frame, column, where in (
        (images, "path", "images"),
        (images, "group", "images"),
        (captions, "text", "captions"),
    ):
        _refuse(frame.loc[frame[column].str.strip() == ""].iloc[:, 0], f"{where}: empty {column}")
    _refuse(captions.loc[captions["text"].str.contains(r"[\r\n\x00]"), "caption_id"], "captions: more than one line")
    groups = captions["image_id"].map(images.set_index("image_id")["group"])
    _refuse(captions.loc[groups.isna(), "caption_id"], "captions without their image")
    _refuse(captions.loc[groups != captions["group"], "caption_id"], "captions of another group than their image")
    _refuse(images.loc[~images["image_id"].isin(captions["image_id"]), "image_id"], "images without a caption")


def report_text(records: Records) -> str:
    """Return the report a person reads, as Markdown: what was kept, and what was dropped or warned of, by reason."""
    report = records.report
    dropped = report[report["status"] == "dropped"]
    of_caption, of_image = dropped["caption_id"] != "", dropped["image_id"] != ""
    lines = [
        "# What became of the data",
        "",
        "| | images | captions | source rows |",
        "|---|---:|---:|---:|",
        f"| kept | {len(records.images)} | {len(records.captions)} | |",
        f"| dropped | {(of_image & ~of_caption).sum()} | {of_caption.sum()} | {(~of_image & ~of_caption).sum()} |",
        "",
        f"Groups of the same content: {records.images['group'].nunique()}. Splits: {_splits(records.images)}.",
        "",
        *_limits(report),
        "Every dropped or warned item stands in report.csv, with its row in the source.",
    ]
    for status in ("dropped", "warned"):
        rows = report[report["status"] == status]
        lines += ["", f"## {status.capitalize()}", "", *(_reasons(rows) if len(rows) else ["Nothing."])]
    return "\n".join(lines) + "\n"


def _splits(images: pd.DataFrame) -> str:
    """Say how many images each split has."""
    counts = Counter(images["split"])
    return ", ".join(f"{name or 'none'} {counts[name]}" for name in ("", *SPLITS) if counts[name])


def _limits(report: pd.DataFrame) -> list[str]:
    """Say how much of the source was read, where the config set a limit."""
    left = report.loc[report["reason"] == OVER_LIMIT, "detail"]
    return (
        [f"Only a part was read, as the config's `limit` says. Images of {'; '.join(left)}.", ""] if len(left) else []
    )


def _reasons(rows: pd.DataFrame) -> list[str]:
    """Return a Markdown table: one line per reason, most frequent first, with a first example."""
    lines = ["| reason | items | for example |", "|---|---:|---|"]
    firsts = rows.drop_duplicates("reason").set_index("reason")
    for reason, count in Counter(rows["reason"]).most_common():
        first = firsts.loc[reason]
        where = f"row {first['row']}: " if first["row"] else ""
        example = f"{where}{first['caption_id'] or first['image_id']} {first['detail']}".strip()
        lines.append(f"| {reason} | {count} | {example[:160].replace('|', '/')} |")
    return lines


def _read_table(path: Path, columns: Sequence[str], id_column: str) -> pd.DataFrame:
    """Read a CSV of strings in which nothing counts as missing, and check its columns and ids."""
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; the data stage of the workflow makes it") from error
    except ValueError as error:  # pandas' parser errors and bytes that are no UTF-8 are of this kind
        raise InputError(f"{path}: no readable CSV ({error}); delete it and run the workflow again") from error
    _check_table(frame, columns, id_column, str(path))
    return frame


def _check_table(frame: pd.DataFrame, columns: Sequence[str], id_column: str, where: str) -> None:
    """Raise ``InputError`` where columns are missing, no row is there, or an id is empty or stands twice."""
    _check_columns(frame, columns, where)
    if frame.empty:
        raise InputError(f"{where}: no rows; see report.md for what was left out")
    _refuse(frame.loc[frame[id_column].str.strip() == "", id_column], f"{where}: empty {id_column}")
    _refuse(frame.loc[frame[id_column].duplicated(), id_column], f"{where}: {id_column} stands twice")


def _check_columns(frame: pd.DataFrame, columns: Sequence[str], where: str) -> None:
    """Raise ``InputError`` naming the columns that ``frame`` lacks."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise InputError(f"{where}: missing column(s) {missing}; found {list(frame.columns)}")


def _check_cells(frame: pd.DataFrame, column: str, allowed: Sequence[str], where: str) -> None:
    """Raise ``InputError`` where ``column`` holds a word that is not ``allowed``."""
    odd = frame.loc[~frame[column].isin(allowed), column]
    _refuse(odd, f"{where}: {column} must be one of {list(allowed)}")


def _refuse(found: pd.Series, what: str) -> None:
    """Raise ``InputError`` with the first few of the cells ``found`` at fault, if there are any."""
    if len(found):
        raise InputError(f"{what}: {len(found)} found, first {found.head(3).tolist()}")
