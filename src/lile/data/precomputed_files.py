"""Which files a folder of regions and captions may have, by the words that those of its splits begin with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

ARRAYS = ("ims", "feat")
"""What SCAN and IMRAM call the array: ``{split}_ims.npy``, ``{split}_feat.npy``."""


def words_of(cfg: Mapping[str, Any]) -> dict[str, str]:
    """Return for each split that a dataset has the word that its files begin with."""
    return {name: word for name, word in cfg["splits"].items() if word is not None}


def arrays_of(root: Path, word: str) -> list[Path]:
    """Return the files among which a split's array is: those there are, of SCAN's and of IMRAM's name."""
    paths = [root / f"{word}_{kind}.npy" for kind in ARRAYS]
    return [path for path in paths if path.is_file()]


def files_of(cfg: Mapping[str, Any]) -> list[str]:
    """Return all files of a dataset that are there: of each split the array, captions and ids."""
    root = Path(cfg["root"])
    texts = {word: [root / f"{word}_{kind}.txt" for kind in ("caps", "ids")] for word in words_of(cfg).values()}
    return [str(path) for word in texts for path in [*arrays_of(root, word), *texts[word]] if path.is_file()]
