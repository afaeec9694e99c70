"""The table ``duplicates.csv``: links between images that are the same picture, nearly so, or share a text.

A class of k equal things is written as k - 1 links to its first image, not as k (k - 1) / 2 pairs, so that ten thousand
equal captions stay ten thousand rows. Three kinds of links:

- ``same_pixels``: equal after decoding. Transitive.
- ``near_image``: other pixels, and perceptual hashes that differ in at most ``near_duplicate_bits``. With distance 0
  transitive; with a greater one it holds between all images of the two hashes.
- ``same_text``: a caption or description equal once case, white space and punctuation are set aside; ``key`` names the
  text, and all images under one key share it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lile.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

SAME_PIXELS, NEAR_IMAGE, SAME_TEXT = KINDS = ("same_pixels", "near_image", "same_text")

HASH_SIDE = 16
"""Coefficients of the perceptual hash along each axis."""
HASH_BITS = HASH_SIDE * HASH_SIDE


class Link(NamedTuple):
    """One row of duplicates.csv."""

    kind: str
    image_a: str
    """The earlier one in images.csv."""
    image_b: str
    distance: str
    """Bits of the perceptual hash; empty for texts."""
    key: str
    """16 hex digits that name the text; empty for images."""


DUPLICATE_COLUMNS = Link._fields


def read_duplicates(path: Path) -> pd.DataFrame:
    """Read duplicates.csv. Raises ``InputError`` where it is no such table; it may have no row."""
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (FileNotFoundError, ValueError) as error:
        raise InputError(f"{path}: no readable CSV ({error}); delete it and run the workflow again") from error
    if tuple(frame.columns) != DUPLICATE_COLUMNS:
        raise InputError(f"{path}: columns must be {list(DUPLICATE_COLUMNS)}; found {list(frame.columns)}")
    odd = frame.loc[~frame["kind"].isin(KINDS), "kind"]
    if len(odd):
        raise InputError(f"{path}: kind {odd.iloc[0]!r} is unknown; delete it and run the workflow again")
    return frame


def links_of(duplicates: pd.DataFrame) -> list[Link]:
    """Return the rows of a table of duplicates."""
    return [Link(*(str(cell) for cell in row)) for row in duplicates[list(DUPLICATE_COLUMNS)].to_numpy()]
