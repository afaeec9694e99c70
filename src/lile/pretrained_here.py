"""Encoders' weights that the stage ``pretrain`` makes: their folders, and what must be there first.

An encoder, or another pretraining, names ``results/pretrain/<name>`` as its weights.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

FOLDER = "results/pretrain"

_NAMED = re.compile(rf"{FOLDER}/(?P<name>[^/]+)/?")


def trained_name(weights: str | None) -> str | None:
    """Return the pretraining whose weights ``weights`` names; None for any other weights."""
    found = _NAMED.fullmatch(weights or "")
    return found["name"] if found else None


def made_here(folder: Path) -> list[str]:
    """Return the files of an encoder's folder that a rule makes."""
    return [str(folder / "config.json"), str(folder / "model.safetensors")]


def start_files(block: Mapping[str, Any], converted: Collection[str]) -> list[str]:
    """Return the local files that a pretraining starts from; none for a hub id or an installed package.

    Args:
        block: of ``pretraining``.
        converted: names of the folders of weights that are converted here.
    """
    folder = Path(block["config"] if block["start"] == "random" else block["start"])
    is_converted = folder.parent == Path("resources/encoders") and folder.name in converted
    if trained_name(block["start"]) or is_converted:
        return made_here(folder)
    names = ["config.json"] if block["start"] == "random" else ["config.json", "model.safetensors"]
    return [str(folder / name) for name in names if (folder / name).is_file()]


def needed_by(blocks: Mapping[str, Any], weights: Iterable[str | None]) -> list[str]:
    """Return the pretrainings that these weights stand on, directly or through their starts, sorted.

    Args:
        blocks: ``pretraining`` of the config.
        weights: of encoders.
    """
    found: set[str] = set()
    waiting = [trained_name(one) for one in weights]
    while waiting:
        name = waiting.pop()
        if name is not None and name in blocks and name not in found:
            found.add(name)
            waiting.append(trained_name(blocks[name]["start"]))
    return sorted(found)
