"""What an image looks like in 48 bytes: a digest of its pixels, and a perceptual hash that survives recompression.

The hash is :func:`imagehash.phash` with 16 x 16 coefficients (256 bits): Zauner (2010), the discrete cosine transform
of the image at 64 x 64 grey pixels, each low frequency above or below their median. Why 256 bits and not the usual
64: on MedPix copies move by up to 6 of 64 bits, where other cases are as near; of 256 bits they move by up to 18, and
two cases are at least 36 apart (docs/leaks.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lile.data.images import in_processes, load_image
from lile.data.links import HASH_BITS, HASH_SIDE

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

PIXEL_BYTES = 16
FLAT_LEVELS = 2.0
"""Grey levels. An image whose samples vary less (standard deviation) shows nothing: its hash would be noise, and all
empty slides would be one content. Such images are compared by their pixels alone."""


class Fingerprint(NamedTuple):
    """One image."""

    pixels: bytes
    """Digest of the decoded pixels and the image's size, PIXEL_BYTES long: equal for equal pictures."""
    look: bytes
    """The perceptual hash, HASH_BITS / 8 bytes; empty for an image that shows nothing."""


@dataclass(frozen=True)
class Fingerprints:
    """N images, 48 bytes each, in the order they were given."""

    pixels: np.ndarray
    """Uint8 [N, PIXEL_BYTES]."""
    looks: np.ndarray
    """Uint8 [N, HASH_BITS / 8], zeros where ``shows`` is false."""
    shows: np.ndarray
    """Bool [N]: whether there is anything to see."""


def fingerprint(path: str) -> Fingerprint:
    """Decode an image, as every other stage does, and return its fingerprint.

    Args:
        path: an image file.

    Raises:
        ImageError: the image cannot be read, see :func:`lile.data.images.load_image`.
    """
    image = load_image(Path(path))
    digest = hashlib.blake2b(repr(image.size).encode(), digest_size=PIXEL_BYTES)
    digest.update(image.tobytes())
    return Fingerprint(digest.digest(), _look(image))


def fingerprints(paths: Sequence[str], workers: int = 1) -> Fingerprints:
    """Return the fingerprints of many images; pixels live in the worker that decodes them, and no longer than that.

    Args:
        paths: image files.
        workers: processes; 1, or a short list, stays in this one.

    Raises:
        ImageError: an image cannot be read.
        InputError: a worker process died.
    """
    import numpy as np
    from tqdm import tqdm

    pixels = np.zeros((len(paths), PIXEL_BYTES), np.uint8)
    looks = np.zeros((len(paths), HASH_BITS // 8), np.uint8)
    shows = np.zeros(len(paths), bool)
    found = in_processes(fingerprint, paths, workers)
    for row, one in enumerate(tqdm(found, total=len(paths), desc="images (looks)", unit="image", disable=None)):
        pixels[row] = np.frombuffer(one.pixels, np.uint8)
        if one.look:
            looks[row] = np.frombuffer(one.look, np.uint8)
            shows[row] = True
    return Fingerprints(pixels, looks, shows)


def _look(image: Image) -> bytes:
    import imagehash
    import numpy as np
    from PIL import ImageStat

    grey = image.convert("L")
    if ImageStat.Stat(grey).stddev[0] < FLAT_LEVELS:
        return b""
    return np.packbits(imagehash.phash(grey, hash_size=HASH_SIDE).hash.ravel()).tobytes()
