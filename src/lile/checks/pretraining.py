"""Whether a pretraining's pictures and its start are there, before any job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lile.checks.findings import Check, failed, passed, warned
from lile.data import nct_crc
from lile.errors import InputError
from lile.lists import converted_weights
from lile.pretrained_here import needed_by, start_files


def check_pretraining(config: Mapping[str, Any], weights: str | None, root: Path) -> Iterator[Check]:
    """Yield what was found of the pretrainings that an encoder's weights stand on; nothing for other weights.

    Pictures are listed, not opened: the stage does that.

    Args:
        config: complete.
        weights: of an encoder.
        root: the working folder.
    """
    blocks = config.get("pretraining", {})
    for name in needed_by(blocks, [weights]):
        yield _data(f"pretraining {name}", blocks[name], root)
        yield from _start(config, f"pretraining {name}", blocks[name], root)


def _data(title: str, block: Mapping[str, Any], root: Path) -> Check:
    from lile.pretraining.config import PretrainConfig
    from lile.pretraining.sources import list_pictures

    if block["data"].get("download") and not all(nct_crc.folder_of(root / nct_crc.FOLDER, p) for p in nct_crc.PARTS):
        return passed(title, f"{' and '.join(nct_crc.PARTS)} will be fetched from {nct_crc.ADDRESS} (12.5 GB)")
    try:
        data = PretrainConfig.from_dict(block).data
        placed = [None if path is None else str(root / path) for path in (data.root, data.file)]
        listing = list_pictures(replace(data, root=placed[0], file=placed[1]))
    except InputError as error:
        return failed(title, str(error), "")
    classes = Counter(item.label for item in listing.items)
    found = f"{len(listing.items):,} pictures in {len(classes)} classes, the smallest of {min(classes.values()):,}"
    if min(classes.values()) < data.min_images or len(classes) < 2:
        return failed(title, found, f"needed are two classes of {data.min_images} pictures (data.min_images)")
    if not listing.grouped and not listing.split:
        return warned(
            title, f"{found}; without slides, patients or a split they are held out at random",
            "name them (data.group_pattern, columns.group or columns.split), or its held-out figures say little",
        )  # fmt: skip
    return passed(title, found)


def _start(config: Mapping[str, Any], title: str, block: Mapping[str, Any], root: Path) -> Iterator[Check]:
    from lile.features.weights import weights_available

    if start_files(block, converted_weights(config)):
        return  # a folder that is there, or one that is made before
    if block["start"] == "random":
        missing = f"no config.json in {block['config']}"
        yield failed(f"{title}: start", missing, "set config to a folder that has one")
        return
    local = root / block["start"]
    available, message = weights_available(str(local) if local.is_dir() else block["start"])
    yield passed(f"{title}: start", message) if available else failed(f"{title}: start", message, "")
