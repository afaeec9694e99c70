"""Checks of a config's pretrainings, before any job: their own keys, and who stands on whom."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from lile.data import nct_crc
from lile.errors import InputError
from lile.features.libraries import REGION_VIT
from lile.pretrained_here import FOLDER, needed_by, trained_name
from lile.pretraining.config import PretrainConfig

LIBRARIES = ("timm", REGION_VIT)
"""Of encoders that take a timm model's weights."""


def pretraining(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong, one line each with its dotted path.

    Args:
        config: valid by the schema, with defaults.
    """
    blocks = config["pretraining"]
    for name, block in blocks.items():
        where = f"pretraining.{name}"
        try:
            PretrainConfig.from_dict(block)
        except InputError as error:
            yield f"{where}: {error}"
        root = block["data"].get("root")
        if block["data"].get("download") and root != nct_crc.FOLDER:
            yield (
                f"{where}.data.root: found {root}, but a download goes to {nct_crc.FOLDER}. Leave root out, or set "
                "download: false to use a folder that you have"
            )
        yield from _there(f"{where}.start", block["start"], blocks)
        if name in needed_by(blocks, [block["start"]]):
            yield f"{where}.start: {block['start']} stands on {name} itself; start from other weights"
    for name, encoder in config["encoders"].items():
        where, weights = f"encoders.{name}", encoder.get("weights")
        yield from _there(f"{where}.weights", weights, blocks)
        if trained_name(weights) and encoder.get("library") not in LIBRARIES:
            yield (
                f"{where}.library: {encoder.get('library')}, but {weights} is a model of timm; needed is one of "
                f"{' or '.join(LIBRARIES)}"
            )
        if trained_name(weights) and encoder.get("convert_from") is not None:
            yield f"{where}.convert_from: {weights} is trained here; leave it out"


def _there(where: str, weights: str | None, blocks: Mapping[str, Any]) -> Iterator[str]:
    name = trained_name(weights)
    if name is not None and name not in blocks:
        near = difflib.get_close_matches(name, blocks, n=1)
        mend = f"did you mean {FOLDER}/{near[0]}?" if near else f"there are: {', '.join(blocks) or 'none'}"
        yield f"{where}: {weights}, but {name} is not among pretraining; {mend}"
