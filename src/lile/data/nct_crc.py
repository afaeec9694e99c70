"""NCT-CRC-HE-100K and CRC-VAL-HE-7K: names, classes, and where they are published.

Source: Kather, Halama and Marx (2018), Zenodo record 1214456. 100,000 patches of 86 patients, and 7,180 of 50 others.
"""

from __future__ import annotations

from pathlib import Path

TRAIN, HELD_OUT = PARTS = ("NCT-CRC-HE-100K", "CRC-VAL-HE-7K")
CLASSES = frozenset({"ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM"})

ADDRESS = "https://zenodo.org/records/1214456"
FOLDER = "resources/nct_crc"
"""Where a download goes."""


def url_of(part: str) -> str:
    """Return where the zip file of a part is fetched."""
    return f"{ADDRESS}/files/{part}.zip"


def folder_of(root: Path, part: str) -> Path | None:
    """Return the folder of a part's classes; None where it is not there.

    It may stand in another of its own name: so unpacks who makes a folder for the archive.
    """
    places = (root / part / part, root / part)
    return next((place for place in places if place.is_dir()), None)
