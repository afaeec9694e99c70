"""Whether published regions are there: rows of .npy files, and TSV files of bottom-up attention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lile.checks.findings import Check, failed, passed
from lile.data.precomputed import Split, open_splits
from lile.errors import InputError

PUBLISHED = ("npy", "bottom_up")
"""Libraries of encoders that this module looks at."""


def check_arrays(block: Mapping[str, Any], root: Path) -> Iterator[Check]:
    """Yield one finding for each split of a dataset of kind ``precomputed``. Raises ``InputError`` for bad files.

    Args:
        block: the dataset's config.
        root: the working folder.
    """
    for split in open_splits({**block, "root": str(root / block["root"])}):
        yield passed(f"{split.name} regions", _described(split))


def _described(split: Split) -> str:
    rows, regions, width = split.regions.shape
    each = f", {split.stride} rows each" if split.stride > 1 else ""
    named = "own ids" if split.ids else "numbered"
    size = f"{rows:,} x {regions} x {width:,} {split.regions.dtype}"
    return f"{len(split):,} images{each}, {len(split.captions):,} captions, {named}; {split.regions.path.name}: {size}"


def check_published(config: Mapping[str, Any], dataset: str, name: str, root: Path) -> Check:
    """Return what was found of an encoder of published regions.

    Args:
        config: complete.
        dataset: a key of ``datasets``.
        name: a key of ``encoders``, of a library of :data:`PUBLISHED`.
        root: the working folder.
    """
    title, encoder = f"image encoder {name}", config["encoders"][name]
    if encoder["library"] == "npy":
        return passed(title, "rows of the dataset's own .npy files")
    block = config["datasets"][dataset]
    numbered = [] if block["kind"] != "precomputed" else _numbered(block, root)
    if numbered:
        fix = f"put {numbered[0]}_ids.txt there, or take an encoder of library npy"
        return failed(
            title, f"TSV files name images by their numbers, which {', '.join(numbered)} of {dataset} lack", fix
        )
    return _lines(title, encoder, root)


def _numbered(block: Mapping[str, Any], root: Path) -> list[str]:
    """Return the splits whose images have no ids but their places."""
    splits = open_splits({**block, "root": str(root / block["root"])})
    return [split.word for split in splits if not split.ids]


def _lines(title: str, encoder: Mapping[str, Any], root: Path) -> Check:
    """Look at the first line of every file."""
    from lile.features.bottom_up import width_of

    files = [root / file for file in encoder["files"]]
    try:
        widths = {width_of(file, encoder["columns"]) for file in files}
    except InputError as error:
        return failed(title, str(error), "")
    if len(widths) > 1:
        return failed(title, f"files of widths {sorted(widths)}", "give files of one detector")
    size = sum(file.stat().st_size for file in files) / 1e9
    return passed(title, f"{len(files)} TSV file(s) of {size:.1f} GB, regions of width {widths.pop():,}")
