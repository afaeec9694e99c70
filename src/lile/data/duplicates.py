"""Which images are the same picture or nearly so, and which share a text: the links of ``duplicates.csv``."""

from __future__ import annotations

import hashlib
import logging
import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from lile.data.fingerprints import Fingerprints, fingerprints
from lile.data.hamming import near_pairs
from lile.data.links import DUPLICATE_COLUMNS, KINDS, NEAR_IMAGE, SAME_PIXELS, SAME_TEXT, Link
from lile.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

log = logging.getLogger(__name__)

_SPACES = re.compile(r"\s+")


def find_duplicates(
    images: pd.DataFrame,
    captions: pd.DataFrame,
    descriptions: pd.DataFrame,
    bits: int,
    workers: int,
    pictures: bool = True,
) -> pd.DataFrame:
    """Look for duplicates among all images and texts of a dataset.

    Args:
        images: columns ``image_id, path``; every picture is decoded once.
        captions: columns ``image_id, text``.
        descriptions: the same; a description may be shared where the captions differ.
        bits: of the hash's 256 that may differ between near-duplicates.
        workers: processes that decode images.
        pictures: whether the images are pictures; where they are regions alone, only texts are compared.

    Returns:
        Columns DUPLICATE_COLUMNS, all strings, by kind and then in the order of ``images``.

    Raises:
        InputError: an image that cannot be read, a threshold out of range, a text of an unknown image.
    """
    import pandas as pd

    ids = images["image_id"].tolist()
    links = [*image_links(ids, fingerprints(images["path"].tolist(), workers), bits)] if pictures else []
    links += text_links(ids, [captions, descriptions])
    frame = pd.DataFrame(links, columns=list(DUPLICATE_COLUMNS), dtype=str)
    counts = frame["kind"].value_counts()
    kinds = KINDS if pictures else [SAME_TEXT]
    log.info("%d images: links of %s", len(ids), ", ".join(f"{kind} {counts.get(kind, 0)}" for kind in kinds))
    if not pictures:
        log.info("the data have no pictures: texts alone were compared")
    return frame


def image_links(ids: Sequence[str], prints: Fingerprints, bits: int) -> Iterator[Link]:
    """Yield the links between images: equal pixels, equal hashes, hashes that are near."""
    import numpy as np

    first_N = _first_of_class(prints.pixels)
    for place in np.flatnonzero(first_N != np.arange(len(ids))).tolist():
        yield Link(SAME_PIXELS, ids[first_N[place]], ids[place], "0", "")
    # One image for each picture that shows something; of those, one for each hash.
    pictures = np.flatnonzero((first_N == np.arange(len(ids))) & prints.shows)
    head = pictures[_first_of_class(prints.looks[pictures])]
    for place, leader in zip(pictures.tolist(), head.tolist(), strict=True):
        if place != leader:
            yield Link(NEAR_IMAGE, ids[leader], ids[place], "0", "")
    heads = pictures[head == pictures]
    pairs_P2, distance_P = near_pairs(prints.looks[heads], bits)
    for (one, other), distance in zip(heads[pairs_P2].tolist(), distance_P.tolist(), strict=True):
        yield Link(NEAR_IMAGE, ids[one], ids[other], str(distance), "")


def text_links(ids: Sequence[str], tables: Sequence[pd.DataFrame]) -> Iterator[Link]:
    """Yield the links between images that share a text; an image may stand under several keys."""
    import numpy as np

    place_of = {image_id: place for place, image_id in enumerate(ids)}
    unknown = next((i for table in tables for i in table["image_id"] if i not in place_of), None)
    if unknown is not None:
        raise InputError(f"a text belongs to image {unknown!r}, which images.csv lacks; run the data stage again")
    keys = np.array([text_key(text) for table in tables for text in table["text"]], np.uint64)
    places = np.array([place_of[i] for table in tables for i in table["image_id"]], np.int64)
    order = np.lexsort((places, keys))
    keys, places = keys[order], places[order]
    starts = np.flatnonzero(np.diff(keys, prepend=keys[:1] ^ np.uint64(1)) != 0) if len(keys) else places
    first = np.repeat(places[starts], np.diff(starts, append=len(keys)))
    again = np.concatenate([[False], (keys[1:] == keys[:-1]) & (places[1:] == places[:-1])])[: len(keys)]
    rows = np.flatnonzero((places != first) & ~again)
    for row in rows[np.lexsort((places[rows], first[rows]))]:
        yield Link(SAME_TEXT, ids[first[row]], ids[places[row]], "", f"{keys[row]:016x}")


def normalised(text: str) -> str:
    """Return ``text`` in Unicode NFKC, case-folded, punctuation and white space folded into single spaces.

    Symbols (``+ < = × µ``) stay: "ER+" is not "ER-".
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _SPACES.sub(" ", folded.translate(_punctuation())).strip()


def text_key(text: str) -> int:
    """Return a number below 2**64 that names the normalised text: same text, same number."""
    digest = hashlib.blake2b(normalised(text).encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")


@cache
def _punctuation() -> dict[int, str]:
    return {code: " " for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)).startswith("P")}


def _first_of_class(rows_NB: np.ndarray) -> np.ndarray:
    """Return for each row, uint8 [N, B], the place of the first row that equals it; int64 [N]."""
    import numpy as np

    if not len(rows_NB):
        return np.empty(0, np.int64)
    whole_N = np.ascontiguousarray(rows_NB).view(np.dtype((np.void, rows_NB.shape[1]))).ravel()
    _, first, inverse = np.unique(whole_N, return_index=True, return_inverse=True)
    return first[inverse.ravel()]
