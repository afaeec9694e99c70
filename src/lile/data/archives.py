"""The archives that are fetched for each kind of dataset, and how each becomes a folder of its name.

A dataset's archive ``a`` is ``resources/<dataset>/a.zip`` while it is there, its facts are ``a.json`` beside it, and
the folder ``a`` holds what was in it. The folder's own note of that (:data:`MARKER`) outlives the archive: what a
folder holds already is never fetched again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

MARKER = ".unpacked.json"
"""In an unpacked folder: which archive it came from. A folder without it was put there by somebody else."""


class Layout(NamedTuple):
    """What of an archive goes into its folder."""

    root_file: str
    """A file name, or a pattern of some: the topmost folder of the archive with such a file becomes the folder."""
    alone: bool = False
    """Whether these files are all that is taken from it."""


ARCHIVES: Mapping[str, Mapping[str, Layout]] = {
    "arch": {"books_set": Layout("captions.json"), "pubmed_set": Layout("captions.json")},
    # Of the annotations the captions alone: the outlines of objects beside them are ten times as large.
    "coco": {
        "train2014": Layout("*.jpg", alone=True),
        "val2014": Layout("*.jpg", alone=True),
        "annotations": Layout("captions_*.json", alone=True),
        "split": Layout("dataset_*.json", alone=True),
    },
}
"""By kind of dataset and name of archive. A kind that is not here is never downloaded."""


def annotation_files(root: str) -> dict[str, str]:
    """Return where COCO's own captions lie below a folder, by the folder of images that they speak of."""
    return {name: f"{root}/annotations/captions_{name}.json" for name in ("train2014", "val2014")}


def facts_of(folder: Path) -> dict[str, Any] | None:
    """Return what an unpacked folder says of its archive: name, size, sha256, files; ``None`` if it says nothing."""
    try:
        facts = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def holds(folder: Path, size: int | None, sha256: str | None) -> bool:
    """Return whether ``folder`` was unpacked from the archive of this digest, and of this size where one is given."""
    facts = facts_of(folder)
    return facts is not None and facts.get("sha256") == sha256 and size in (None, facts.get("size"))
