"""MS-COCO in Karpathy's split, and any images whose captions and split stand in a file of his format.

Source of the format: Karpathy and Fei-Fei, CVPR 2015, ``dataset_coco.json``, ``dataset_flickr8k.json`` and
``dataset_flickr30k.json``: ``{"dataset": "coco", "images": [{"filepath": "val2014", "filename": "...jpg", "cocoid":
391895, "split": "test", "sentences": [{"raw": "..."}, ...]}, ...]}``. Flickr's have no ``filepath`` and no ``cocoid``.

Decisions where the data may be read in two ways:

- ``restval`` (the rest of COCO's validation images) is training, as in every published figure on 113,287 images.
- The first ``captions_per_image`` captions of an image are used, empty ones counted: so each image has the captions
  that others' code gives it.
- The order of the records is the file's: COCO 1K means consecutive blocks of its test images.
- Every image is a group of its own, also where two share a caption word for word. Such a caption is a plain sentence
  that one of five writers chose, and says that both pictures are of a kind, not that they show the same; and groups
  join what is tied in any number of steps, so that one such sentence in five would chain unlike pictures together. (A
  figure's caption in ARCH does name its content, and the readers of other kinds do tie equal captions.) The same
  sentence under two images still is no negative, for the loss looks at the words; and leaks.csv counts such images.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from lile.data.archives import annotation_files
from lile.data.assemble import SourceCaption, assemble
from lile.data.images import VerifyMode
from lile.data.limit import FirstImages
from lile.data.records import REPORT_COLUMNS, Records, ReportRow
from lile.data.rows import read_json
from lile.errors import InputError

KARPATHY_SPLITS = {"train": "train", "restval": "train", "val": "validation", "test": "test"}
"""Karpathy's words for a split, and what they mean here."""

PUBLISHED = {"train": 113_287, "validation": 5_000, "test": 5_000}
"""Images of COCO's own file, ``restval`` in training."""

_SUFFIXES = (".jpg", ".jpeg", ".png")
_KEYS = ("filename", "split", "sentences")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


class Listed(NamedTuple):
    """One image as the split file lists it."""

    row: str
    """Its place in the list, counted from 1."""
    image_id: str
    folder: str
    """The file's ``filepath``; empty where it has none."""
    filename: str
    cocoid: int | None
    split: str
    """train, validation or test."""
    captions: tuple[object, ...]
    """As written, in order; all of them."""


class SplitFile(NamedTuple):
    """A split file, sorted into what can be read and what cannot."""

    dataset: str
    """What the file calls its data: coco, flickr8k, flickr30k, ..."""
    images: list[Listed]
    lost: list[ReportRow]


def read_coco(cfg: Mapping[str, Any], verify: VerifyMode, workers: int = 1) -> Records:
    """Read a dataset of kind ``coco``.

    Args:
        cfg: ``split_file``, ``root``, ``images`` (None, a folder, or folders by ``filepath``), ``captions_per_image``
            and ``limit`` (of each split, None for all). COCO's own captions are compared where
            ``<root>/annotations/captions_*.json`` are there.
        verify: how images are looked at, see :func:`lile.data.images.verify_images`.
        workers: processes for that.

    Returns:
        Records in the file's order; images are called ``coco:<cocoid>``, or ``<dataset>:<file name without ending>``.

    Raises:
        InputError: a file or folder is missing or of another format, a split is unknown, the split names images that
            COCO's captions do not, or less than half can be used.
    """
    path = Path(cfg["split_file"])
    split = read_split(path)
    folders = image_folders(cfg, split.images)
    report = [*split.lost, *_against_annotations(str(cfg["root"]), path, split.images)]
    limit, most = FirstImages(cfg.get("limit")), int(cfg["captions_per_image"])
    taken = [listed for listed in split.images if limit.takes(listed.split)]
    report += [line for listed in taken for line in _captions_report(listed, most)]
    report += [*limit.report(), *_files_without_row(folders, split.images)]
    sources = [source for listed in taken for source in _sources(listed, folders, most)]
    records = assemble(sources, report, verify, workers, str(path), same_text_same_group=False)
    return records if split.dataset != "coco" or cfg.get("limit") else _against_published(records)


def read_split(path: Path) -> SplitFile:
    """Read a file of Karpathy's format.

    Args:
        path: of the file.

    Raises:
        InputError: it is missing, no JSON or of another format, or a split has an unknown name.
    """
    value = read_json(path, _without_tokens)
    rows = value.get("images") if isinstance(value, dict) else None
    if not isinstance(rows, list) or not rows:
        raise InputError(f'{path}: not of Karpathy\'s format: {{"images": [...], "dataset": ...}} is needed')
    dataset = _UNPRINTABLE.sub("", str(value.get("dataset") or "image"))
    words = [str(row["split"]) for row in rows if isinstance(row, dict) and "split" in row]
    if odd := [word for word in words if word not in KARPATHY_SPLITS]:
        known = ", ".join(KARPATHY_SPLITS)
        raise InputError(f"{path}: {len(odd)} images of an unknown split, first {odd[0]!r}; known are {known}")
    found = SplitFile(dataset, [], [])
    ids: set[str] = set()
    files: set[tuple[str, str]] = set()
    for number, row in enumerate(rows, start=1):
        listed = _listed(str(number), row, dataset)
        if isinstance(listed, Listed):
            listed = _unless_repeated(listed, ids, files)
        if isinstance(listed, Listed):
            found.images.append(listed)
        else:
            found.lost.append(listed)
    return found


def image_folders(cfg: Mapping[str, Any], images: Sequence[Listed]) -> dict[str, Path]:
    """Return where the images of each ``filepath`` lie. Raises ``InputError`` where there is no such folder.

    Args:
        cfg: as :func:`read_coco` takes it.
        images: as listed.
    """
    counts = Counter(listed.folder for listed in images)
    given = cfg.get("images")
    folders: dict[str, Path] = {}
    for name, count in counts.items():
        if isinstance(given, Mapping) and name not in given:
            raise InputError(
                f"images: {cfg['split_file']} names {count} images in {name or 'no folder'}; add it to {sorted(given)}"
            )
        below = Path(cfg["root"]) / (name or "images")
        folders[name] = Path(given[name] if isinstance(given, Mapping) else given) if given else below
        if not folders[name].is_dir():
            raise InputError(
                f"{folders[name]}: no such folder; {cfg['split_file']} names {count} images in it. Put them there, or "
                "set images to where they are"
            )
    return folders


def _without_tokens(found: dict[str, Any]) -> Any:
    """Keep of a sentence its text alone, while the JSON is read: its tokens are four fifths of the memory."""
    return found["raw"] if "raw" in found and "filename" not in found else found


def _listed(row: str, value: Any, dataset: str) -> Listed | ReportRow:
    """Take one item of the list, or say why not."""
    missing = [key for key in _KEYS if key not in value] if isinstance(value, Mapping) else list(_KEYS)
    if missing:
        return ReportRow(row, "", "", "dropped", "row_malformed", f"without {', '.join(missing)}")
    name, folder, cocoid = value["filename"], value.get("filepath") or "", value.get("cocoid")
    if not isinstance(value["sentences"], list):
        return ReportRow(row, "", "", "dropped", "row_malformed", f"{name}: sentences is no list")
    if not (_is_plain(name) and "/" not in name and (folder == "" or _is_plain(folder))):
        return ReportRow(row, "", "", "dropped", "row_malformed", f"no file below a folder: {folder!r}, {name!r}"[:300])
    if cocoid is not None and (not isinstance(cocoid, int) or isinstance(cocoid, bool)):
        return ReportRow(row, "", "", "dropped", "row_malformed", f"{name}: cocoid {cocoid!r} is no whole number"[:300])
    image_id = f"{dataset}:{Path(name).stem}" if cocoid is None else f"coco:{cocoid}"
    return Listed(row, image_id, folder, name, cocoid, KARPATHY_SPLITS[value["split"]], tuple(value["sentences"]))


def _is_plain(path: object) -> bool:
    """Return whether this is a path that leads down."""
    if not isinstance(path, str) or not path or _UNPRINTABLE.search(path):
        return False
    return not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts


def _unless_repeated(listed: Listed, ids: set[str], files: set[tuple[str, str]]) -> Listed | ReportRow:
    """Return an image that is new, and remember it; else a line that drops it: the first holds."""
    file = (listed.folder, listed.filename)
    if listed.image_id in ids or file in files:
        reason = "id_repeated" if listed.image_id in ids else "image_listed_twice"
        detail = f"{listed.image_id}, {PurePosixPath(*file)}: the first row of it holds"
        return ReportRow(listed.row, "", "", "dropped", reason, detail)
    ids.add(listed.image_id)
    files.add(file)
    return listed


def _sources(listed: Listed, folders: Mapping[str, Path], most: int) -> Iterator[SourceCaption]:
    """Yield the captions of an image that are used; an empty one where it has none."""
    path = os.path.join(folders[listed.folder], listed.filename)  # noqa: PTH118 half a million Path objects are slow
    for text in listed.captions[:most] or (None,):
        yield SourceCaption(listed.row, listed.image_id, path, text, "", listed.split)


def _captions_report(listed: Listed, most: int) -> Iterator[ReportRow]:
    """Yield a line for each caption beyond the first ``most``, or one for an image that has fewer."""
    number = len(listed.captions)
    for place in range(most, number):
        caption_id = f"{listed.image_id}#{place}"
        detail = f"{number} captions, the first {most} are used"
        yield ReportRow(listed.row, listed.image_id, caption_id, "dropped", "caption_left_out", detail)
    if number < most:
        detail = f"{number} captions, not {most}"
        yield ReportRow(listed.row, listed.image_id, "", "warned", "image_of_few_captions", detail)


def _files_without_row(folders: Mapping[str, Path], images: Sequence[Listed]) -> Iterator[ReportRow]:
    """Yield a line for each image file that the split file does not name."""
    known: dict[str, set[str]] = defaultdict(set)
    for listed in images:
        known[os.path.realpath(folders[listed.folder])].add(listed.filename)
    for folder, names in known.items():
        for name in sorted(set(os.listdir(folder)) - names):
            if name.lower().endswith(_SUFFIXES):
                detail = f"{os.path.join(folder, name)}: no row of the split file names it"  # noqa: PTH118
                yield ReportRow("", "", "", "warned", "image_without_row", detail)


def _against_annotations(root: str, path: Path, images: Sequence[Listed]) -> Iterator[ReportRow]:
    """Compare the split with COCO's own captions, where they are there. Raises ``InputError`` for unknown ids."""
    for folder, name in annotation_files(root).items():
        named = [listed.cocoid for listed in images if listed.folder == folder and listed.cocoid is not None]
        if not named or not Path(name).is_file():
            continue
        known = _annotated(Path(name))
        if unknown := [cocoid for cocoid in named if cocoid not in known]:
            raise InputError(
                f"{path}: {len(unknown)} of its {len(named)} images in {folder} are unknown to {name}, first "
                f"{unknown[:5]}. Take both files from the same release, or the second away"
            )
        if left := sorted(known.difference(named)):
            detail = f"{len(left)} images of {name} are in no split, first {left[:5]}"
            yield ReportRow("", "", "", "warned", "split_without_image", detail)


def _annotated(path: Path) -> set[int]:
    """Return the ids of the images that COCO's own file of captions knows. Raises ``InputError``."""
    value = read_json(path, _ids_alone)
    ids = value.get("images") if isinstance(value, dict) else None
    if not isinstance(ids, list) or not all(isinstance(found, int) for found in ids):
        raise InputError(f'{path}: not COCO\'s captions: {{"images": [{{"id": ...}}], ...}} is needed')
    return set(ids)


def _ids_alone(found: dict[str, Any]) -> Any:
    """Keep of an image its id and of a caption nothing, while the JSON is read."""
    if "caption" in found:
        return None
    return found.get("id") if "file_name" in found else found


def _against_published(records: Records) -> Records:
    """Add a line for each split that has not as many images as published."""
    import pandas as pd

    counts = Counter(records.images["split"])
    blocks = {"test": "; blocks of 1,000 are other images than the published ones"}
    lines = [
        ReportRow(*("", "", "", "warned", "split_unlike_published"), detail=f"{split}: {counts[split]:,} images, "
                  f"published are {size:,}{blocks.get(split, '')}")
        for split, size in PUBLISHED.items() if counts[split] != size
    ]  # fmt: skip
    added = pd.DataFrame(lines, columns=list(REPORT_COLUMNS), dtype=str)
    return replace(records, report=pd.concat([records.report, added], ignore_index=True))
