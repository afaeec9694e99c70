"""A folder of regions and captions as SCAN and IMRAM publish them: no pictures, one array and one text file per split.

``{split}_ims.npy`` (SCAN) or ``{split}_feat.npy`` (IMRAM) holds regions, ``{split}_caps.txt`` a caption a line, those
of an image one after the other; ``{split}_ids.txt``, where it is there, an id a line.

Decisions where the files may be read in two ways:

- The array has a row per image or a row per caption; the counts say which. In the second form, an image's rows are all
  compared: where they differ, the file is not what its counts say.
- Blank lines at the end of a caption file count only as far as the array needs them; elsewhere a blank line is a
  caption that was lost, is dropped, and leaves the others in their places.
- Ids, too, may stand once per image or once per caption. Where they differ within an image they name captions, and the
  images are numbered instead (warned: ``id_of_caption``).
- An image whose regions are all zero or beyond float16, the store's type, is dropped and listed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from lile.data.assemble import SourceCaption, assemble
from lile.data.captions import clean_caption
from lile.data.images import Finding
from lile.data.limit import FirstImages
from lile.data.npy_rows import RegionArray, Window, open_regions, place_of
from lile.data.precomputed_files import ARRAYS, arrays_of, words_of
from lile.data.records import Records, ReportRow
from lile.data.rows import check_readable
from lile.errors import InputError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class Split:
    """The files of one split.

    Attributes:
        name: train, validation or test.
        word: how its files begin.
        regions: the array.
        stride: rows per image, 1 or as many as captions.
        captions: all of them, as they stand in the file.
        per_image: captions of an image.
        ids: of the images; empty where they are numbered.
        report: what a person should know of the files.
    """

    name: str
    word: str
    regions: RegionArray
    stride: int
    captions: Sequence[str]
    per_image: int
    ids: Sequence[str]
    report: Sequence[ReportRow]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.regions) // self.stride

    def image_id(self, image: int) -> str:
        """Return an image's id: the split's word with its own id or number."""
        return f"{self.word}:{self.ids[image] if self.ids else f'{image:06d}'}"


def read_precomputed(cfg: Mapping[str, Any]) -> Records:
    """Read a dataset of kind ``precomputed``. Every array is read once, through windows of 64 MiB.

    Args:
        cfg: ``root``, the folder; ``splits``, the word that the files of train, validation and test begin with (None:
            there are none); ``captions_per_image``; optional ``limit``: only the first so many images of each split;
            optional ``drop_captions``: texts that are no captions, compared after cleaning.

    Returns:
        Records in the order of the files. An image's path is ``<file>.npy#<row>``.

    Raises:
        InputError: a file is missing or damaged, counts do not fit, arrays are of different widths, or the rows of one
            image differ.
    """
    splits = open_splits(cfg)
    limit = FirstImages(cfg.get("limit"))
    taken = [sum(limit.takes(split.name) for _ in range(len(split))) for split in splits]
    sources = [source for split, count in zip(splits, taken, strict=True) for source in _captions(split, count)]
    report = [row for split in splits for row in split.report] + limit.report()
    excluded = frozenset(clean_caption(text).text for text in cfg.get("drop_captions") or ()) - {""}

    def look(paths: Sequence[str]) -> list[Finding]:
        findings = [found for split, count in zip(splits, taken, strict=True) for found in _examined(split, count)]
        assert len(findings) == len(paths), "an image has at least one line in the caption file"
        return findings

    # As of COCO: the same sentence under two images does not make them the same content.
    return assemble(sources, report, look, 1, str(cfg["root"]), same_text_same_group=False, excluded=excluded)


def open_splits(cfg: Mapping[str, Any]) -> list[Split]:
    """Open the files of every split, without looking at any region.

    Args:
        cfg: as :func:`read_precomputed` takes it.

    Raises:
        InputError: as there, but for rows that differ.
    """
    root = Path(cfg["root"])
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; root must be the one with <split>_caps.txt and <split>_ims.npy")
    splits = [_open_split(root, name, word, cfg["captions_per_image"]) for name, word in words_of(cfg).items()]
    if not splits:
        raise InputError(f"{root}: splits names no split; give the word that the files of one begin with")
    first = splits[0].regions
    for split in splits:
        if split.regions.shape[2] != first.shape[2]:
            widths = f"width {split.regions.shape[2]}, but {first.path} has {first.shape[2]}"
            raise InputError(f"{split.regions.path}: {widths}; regions of one dataset come from one detector")
    return splits


def _open_split(root: Path, name: str, word: str, per_image: int) -> Split:
    """Open one split's files and fit their counts."""
    there = arrays_of(root, word)
    if not there:
        names = " or ".join(f"{word}_{kind}.npy" for kind in ARRAYS)
        raise InputError(f"{root}: no {names} for the split {name}; name its files in the config: splits")
    if len({path.resolve() for path in there}) > 1:
        raise InputError(f"{there[0]} and {there[1]}: both are there; move away the one that is not meant")
    regions, captions_path = open_regions(there[0]), root / f"{word}_caps.txt"
    lines = read_lines(captions_path)
    stride, used = _fitted(regions, captions_path, lines, per_image)
    ids, report = _ids_of(root / f"{word}_ids.txt", len(regions) // stride, per_image)
    return Split(
        name=name, word=word, regions=regions, stride=stride, captions=lines[:used], per_image=per_image, ids=ids,
        report=report,
    )  # fmt: skip


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file; bytes that are no UTF-8 become U+FFFD.

    Only a line feed ends a line: a caption may hold any other mark that Python takes for a line's end.

    Raises:
        InputError: the file is missing, empty or UTF-16.
    """
    check_readable(path)
    text = path.read_bytes().decode("utf-8-sig", "replace")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _fitted(regions: RegionArray, path: Path, lines: Sequence[str], per_image: int) -> tuple[int, int]:
    """Return how many rows an image has in the array, and how many of the lines are captions."""
    full = len(lines)
    while full and not lines[full - 1].strip():
        full -= 1
    rows = len(regions)
    for used, stride in ((rows * per_image, 1), (rows, per_image)):
        if full <= used <= len(lines) and rows % stride == 0:
            return stride, used
    blank = f" ({len(lines) - full} blank ones at its end)" if full < len(lines) else ""
    raise InputError(
        f"{path}: {len(lines)} lines{blank}, but {regions.path} has {rows} rows. With captions_per_image: {per_image} "
        f"expected are {rows * per_image} lines for a row per image, or {rows} for a row per caption (images of "
        f"{per_image} rows each). Take both files of one split, or set captions_per_image to what the data have"
    )


def _ids_of(path: Path, images: int, per_image: int) -> tuple[list[str], list[ReportRow]]:
    """Return the images' own ids, none where they have none; and what to report of the file."""
    if not path.is_file():
        return [], []
    ids = [line.strip() for line in read_lines(path)]
    while ids and not ids[-1]:
        ids.pop()
    if len(ids) == images * per_image and per_image > 1:
        firsts = ids[::per_image]
        if [i for i in firsts for _ in range(per_image)] != ids:
            detail = f"{path.name}: ids differ within an image, so they name captions; images are numbered"
            return [], [ReportRow("", "", "", "warned", "id_of_caption", detail)]
        ids = firsts
    if len(ids) != images:
        raise InputError(f"{path}: {len(ids):,} ids for {images:,} images; give one per image, or move the file away")
    most, times = Counter(ids).most_common(1)[0]
    if times > 1 or "" in ids:
        what = f"the id {most!r} stands {times} times" if times > 1 else f"line {ids.index('') + 1} is blank"
        raise InputError(f"{path}: {what}; give each image an id of its own, or move the file away")
    return ids, []


def _captions(split: Split, images: int) -> Iterator[SourceCaption]:
    """Yield the captions of a split's first ``images`` images."""
    for image in range(images):
        image_id, path = split.image_id(image), place_of(split.regions.path, image * split.stride)
        for line in range(image * split.per_image, (image + 1) * split.per_image):
            where = f"{split.word}_caps.txt:{line + 1}"
            yield SourceCaption(where, image_id, path, split.captions[line], split=split.name)


def _examined(split: Split, images: int) -> Iterator[Finding]:
    """Look at the regions of a split's first ``images`` images, in order."""
    with tqdm(total=images, desc=split.regions.path.name, unit=" images", disable=None) as bar:
        for window in split.regions.windows(images * split.stride, split.stride):
            if split.stride > 1:
                _check_equal(split, window)
            findings = [*_window_findings(window.rows[:: split.stride])]
            yield from findings
            bar.update(len(findings))


def _check_equal(split: Split, window: Window) -> None:
    """Raise ``InputError`` where the rows of one image differ in any bit; s of them are an image's."""
    import numpy as np

    kind = f"u{split.regions.dtype.itemsize}"  # a NaN equals itself
    bits_nsRD = window.rows.view(kind).reshape(-1, split.stride, *window.rows.shape[1:])
    for at in range(1, split.stride):
        if np.array_equal(bits_nsRD[:, at], bits_nsRD[:, 0]):
            continue
        image = int(np.flatnonzero((bits_nsRD[:, at] != bits_nsRD[:, 0]).any(axis=(1, 2)))[0])
        row = window.start + image * split.stride
        raise InputError(
            f"{split.regions.path}: rows {row} and {row + at} differ, but the array has a row per caption and they "
            f"are of one image ({split.image_id(row // split.stride)}). With one caption per image set "
            f"captions_per_image: 1; else the array and {split.word}_caps.txt do not belong together"
        )


def _window_findings(rows: np.ndarray) -> Iterator[Finding]:
    """Yield what is to say of each image's regions [n, R, D]."""
    import numpy as np

    most = float(np.finfo(np.float16).max)
    flat = rows.reshape(len(rows), -1)
    # A NaN makes both a NaN, which no comparison lets through.
    for low, high in zip(flat.min(axis=1).tolist(), flat.max(axis=1).tolist(), strict=True):
        if not (low >= -most and high <= most):
            yield "dropped", "image_regions_not_finite", f"values from {low} to {high}; the store holds up to {most:g}"
        elif low == high == 0:
            yield "dropped", "image_regions_zero", "all zero: the detector's job failed on this image"
        else:
            yield "kept", "", ""
