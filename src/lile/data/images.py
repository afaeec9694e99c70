"""Images as people have them, opened as plain 8-bit RGB; and a check of a million of them before work starts.

Nothing here imports the rest of the package, so that worker processes start quickly.
"""

from __future__ import annotations

import logging
import multiprocessing
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from lile.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

T = TypeVar("T")

MIN_SIDE_PX = 8
"""Anything narrower shows nothing: a tracking pixel or a failed download."""

MAX_PIXELS = 89_478_485
"""Pillow's own limit against decompression bombs: 256 MiB of RGB. A patch has far less."""

VERIFY_MODES = ("decode", "header")
VerifyMode = Literal["decode", "header"]
Finding = tuple[str, str, str]
"""``(status, reason, detail)``: status is ``kept``, ``warned`` or ``dropped``; the others are empty where kept."""

_FEW = 200  # fewer images than this are looked at faster than processes start
_DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")


class ImageError(InputError):
    """One image cannot be used.

    Args:
        path: the image.
        reason: a word for counting, such as ``image_truncated``.
        detail: what was found.
    """

    def __init__(self, path: Path, reason: str, detail: str) -> None:
        super().__init__(f"{path}: {reason}: {detail}")
        self.path = path
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[ImageError], tuple[Path, str, str]]:
        """Pickle by the three arguments: a data loader's worker sends this error to its parent."""
        return type(self), (self.path, self.reason, self.detail)


def load_image(path: Path) -> Image:
    """Open an image as 8-bit RGB, upright, the way a viewer would show it on white paper.

    16-bit samples are scaled to 8 bits over the full range of their type, CMYK, palette and grey images are converted,
    transparency is laid on white, of an animation the first frame is taken, and the camera's orientation is applied.

    Args:
        path: an image file of any format that Pillow reads.

    Returns:
        A loaded image of mode RGB; its file is closed.

    Raises:
        ImageError: the file is missing, empty, truncated, no image, narrower than 8 pixels or a decompression bomb.
    """
    return _decode(path)[0]


def verify_images(paths: Sequence[str], mode: VerifyMode, workers: int = 1) -> list[Finding]:
    """Look at every image, in parallel processes, with a progress bar.

    Args:
        paths: image files.
        mode: ``decode`` opens each image fully and finds what is truncated; ``header`` reads its first bytes only.
        workers: processes; 1, or a short list, stays in this one.

    Returns:
        One :data:`Finding` for each path, in the same order.

    Raises:
        InputError: ``mode`` is unknown, or a worker process died (most often for want of memory).
    """
    if mode not in VERIFY_MODES:
        raise InputError(f"verify: {mode!r} is unknown; use one of {', '.join(VERIFY_MODES)}")
    from tqdm import tqdm

    findings = in_processes(partial(examine_image, mode=mode), paths, workers)
    return list(tqdm(findings, total=len(paths), desc=f"images ({mode})", unit="image", disable=len(paths) < _FEW))


def examine_image(path: str, mode: VerifyMode) -> Finding:
    """Look at one image and say what was found; raises nothing but ``MemoryError``."""
    with warnings.catch_warnings(record=True) as said:  # Pillow's words on damaged tags, for a million images
        warnings.simplefilter("always")
        try:
            notes = _decode(Path(path))[1] if mode == "decode" else _read_header(Path(path))
        except ImageError as error:
            return "dropped", error.reason, error.detail
    notes += [("image_odd", str(warning.message)) for warning in said[:1]]
    if notes:
        return "warned", notes[0][0], "; ".join(detail for _, detail in notes)
    return "kept", "", ""


def in_processes(look: Callable[[str], T], paths: Sequence[str], workers: int) -> Iterator[T]:
    """Yield what ``look`` says of each image, in order, from several processes; from this one where they are few.

    Args:
        look: a function at the top of a module; what it raises is raised here.
        paths: image files.
        workers: processes. They get paths in pieces that keep the traffic between them small.

    Raises:
        InputError: a process died.
    """
    if workers < 2 or len(paths) <= _FEW:
        yield from map(look, paths)
        return
    piece = max(1, min(256, len(paths) // (4 * workers)))
    # spawn, not fork: the parent may hold threads and locks of numpy, pandas or torch.
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    done = 0
    try:
        for finding in pool.map(look, paths, chunksize=piece):
            yield finding
            done += 1
    except BrokenProcessPool as error:
        first = paths[done] if done < len(paths) else "?"
        raise InputError(
            f"a process died while it looked at images, near {first}: most often memory ran out. "
            f"Give fewer threads, or verify: header"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read_header(path: Path) -> list[tuple[str, str]]:
    """Check an image by its first bytes; return notes. Raises :class:`ImageError`."""
    try:
        with _opened(path) as image:
            return _frame_notes(image)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise _as_image_error(path, error) from error


def _decode(path: Path) -> tuple[Image, list[tuple[str, str]]]:
    """Open an image fully; return it as RGB with notes. Raises :class:`ImageError`."""
    try:
        with _opened(path) as image:
            notes = _frame_notes(image)
            image.seek(0)
            image.load()
            return _to_rgb(_upright(image, notes), notes), notes
    except (ImageError, MemoryError):
        raise
    # Pillow's many decoders raise many kinds (struct.error, EOFError, SyntaxError, zlib.error, ...) on broken bytes.
    except Exception as error:
        raise _as_image_error(path, error) from error


def _opened(path: Path) -> Image:
    """Open an image without decoding it; refuse what is no file, too small or too large."""
    import PIL.Image

    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise ImageError(path, "image_missing", "no such file") from error
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(path, "image_not_a_file", "a folder or a device")
    if status.st_size == 0:
        raise ImageError(path, "image_empty", "0 bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        image = PIL.Image.open(path)
    try:
        _check_size(path, *image.size)
    except ImageError:
        image.close()
        raise
    return image


def _check_size(path: Path, width_px: int, height_px: int) -> None:
    """Raise :class:`ImageError` for sides below :data:`MIN_SIDE_PX` or more than :data:`MAX_PIXELS`."""
    size = f"{width_px}x{height_px} pixels"
    if min(width_px, height_px) < MIN_SIDE_PX:
        raise ImageError(path, "image_too_small", f"{size}, at least {MIN_SIDE_PX} a side are needed")
    if width_px * height_px > MAX_PIXELS:
        raise ImageError(path, "image_bomb", f"{size}, at most {MAX_PIXELS:,} in all are opened")


def _as_image_error(path: Path, error: Exception) -> ImageError:
    """Name what a decoder's error says of the file."""
    import PIL.Image

    said = f"{type(error).__name__}: {error}"
    if isinstance(error, (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning)):
        return ImageError(path, "image_bomb", said)
    if isinstance(error, PermissionError):
        return ImageError(path, "image_unreadable", "no permission to read it")
    words = str(error).replace(str(path), "").lower()  # Pillow names the file, whatever that is called
    cut = isinstance(error, EOFError) or "truncated" in words or "broken" in words
    return ImageError(path, "image_truncated" if cut else "image_unreadable", said)


def _frame_notes(image: Image) -> list[tuple[str, str]]:
    """Note an animation or a file of several pages. A phone's MPO is one photo with a second view, and no news."""
    if image.format != "MPO" and getattr(image, "is_animated", False):
        return [("image_animated", f"several frames or pages ({image.format}): the first is used")]
    return []


def _upright(image: Image, notes: list[tuple[str, str]]) -> Image:
    """Turn a loaded image as its camera noted; a note where that fails."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    # Pillow writes the tags anew once it has turned an image, and fails in many ways on tags it does not know.
    except Exception as error:
        notes.append(("image_exif_unreadable", f"taken as upright ({type(error).__name__}: {error})"))
        return image.copy()


def _to_rgb(image: Image, notes: list[tuple[str, str]]) -> Image:
    """Convert a loaded image of any mode to RGB, transparency on white."""
    import PIL.Image

    if image.mode in _DEEP_MODES:
        image = _to_8_bits(image, notes)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        paper = PIL.Image.new("RGBA", layer.size, "white")
        return PIL.Image.alpha_composite(paper, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_8_bits(image: Image, notes: list[tuple[str, str]]) -> Image:
    """Scale grey samples of 16 or 32 bits, or floats, to 8 bits.

    16-bit samples use the full range of their type, so that two images of one scanner stay comparable. 32-bit samples
    and floats have no such range: values in 0..255 (floats: 0..1) are taken as such, others are stretched from least
    to most.
    """
    import numpy as np
    import PIL.Image

    values: np.ndarray = np.nan_to_num(np.asarray(image).astype(np.float32), posinf=0.0, neginf=0.0)
    least, most = float(values.min()), float(values.max())
    # Pillow before 11, and its PGM reader, hand 16-bit samples over as mode I.
    if image.mode.startswith("I;16") or (image.mode == "I" and least >= 0 and 255 < most <= 65535):
        values = values / 257
        if most < 4096:
            notes.append(("image_16bit_dark", f"no sample above {most:.0f} of 65535: 12-bit values in a 16-bit file?"))
    elif image.mode == "F" and least >= 0 and most <= 1:
        values = values * 255
    elif least < 0 or most > 255:
        values = (values - least) * (255 / max(most - least, 1e-12))
        notes.append(
            ("image_stretched", f"samples from {least:g} to {most:g} have no fixed range: stretched to 0..255")
        )
    return PIL.Image.fromarray(np.rint(values).astype(np.uint8))
