"""Regions of images in a large .npy file: rows are looked at through small windows, the file is never loaded.

Shapes: N rows of the file, n of a window, R regions of a row, D width of a region.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lile.errors import InputError

if TYPE_CHECKING:
    import numpy as np

WINDOW_BYTES = 1 << 26
"""Of a file that is mapped at a time; one row, where that is larger."""

_MARK = ".npy#"


class Window(NamedTuple):
    """Some rows of a file, one after the other."""

    start: int
    """Number of the first."""
    rows: np.ndarray
    """[n, R, D], read from the disk when it is looked at."""


@dataclass(frozen=True, slots=True)
class RegionArray:
    """A file's header.

    Attributes:
        path: the file.
        shape: (N, R, D).
        dtype: float16, float32 or float64.
        offset: bytes before the first row.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype
    offset: int

    def __len__(self) -> int:
        """Return N."""
        return self.shape[0]

    def window(self, start: int, stop: int) -> np.ndarray:
        """Map the rows ``start`` to ``stop - 1``, [n, R, D]. Raises ``InputError`` where the file is shorter now."""
        import numpy as np

        row_bytes = prod(self.shape[1:]) * self.dtype.itemsize
        shape = (stop - start, *self.shape[1:])
        try:
            # A mapping of its own for each window: its pages leave the process's memory with it.
            return np.memmap(self.path, self.dtype, "r", self.offset + start * row_bytes, shape)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path}: rows {start} to {stop - 1} cannot be read ({error}); was it cut?"
            ) from error

    def windows(self, stop: int, multiple: int = 1) -> Iterator[Window]:
        """Yield the first ``stop`` rows in windows of about WINDOW_BYTES, each of a multiple of rows (but the last)."""
        row_bytes = prod(self.shape[1:]) * self.dtype.itemsize
        step = multiple * max(1, WINDOW_BYTES // (row_bytes * multiple))
        for start in range(0, stop, step):
            yield Window(start, self.window(start, min(start + step, stop)))


def open_regions(path: Path) -> RegionArray:
    """Read and check the header of a .npy file of regions, and that all its rows are there.

    Args:
        path: an array [N, R, D] of floats, in C order.

    Raises:
        InputError: the file is missing, no .npy file, cut short, or an array of another kind.
    """
    import numpy as np

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with path.open("rb") as handle:
            version = np.lib.format.read_magic(handle)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, columns_first, dtype = read(handle)
            offset = handle.tell()
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: no .npy file ({error}); was the download cut short?") from error
    sizes = _checked(path, shape, dtype, columns_first)
    size, needed = path.stat().st_size, offset + prod(shape) * dtype.itemsize
    if size < needed:
        raise InputError(f"{path}: cut short: {size:,} bytes of {needed:,} are there. Copy or download it again")
    return RegionArray(path, sizes, dtype, offset)


def _checked(path: Path, shape: tuple[int, ...], dtype: np.dtype, columns_first: bool) -> tuple[int, int, int]:
    """Return the shape. Raises ``InputError`` unless the array holds regions."""
    found = f"{path}: an array of {dtype}, shape {shape}"
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise InputError(f"{found}; regions are float16, float32 or float64. Convert it with array.astype('float32')")
    if len(shape) == 2:
        raise InputError(
            f"{found}: one vector per image; regions are [images, regions, width]. As one region each: array[:, None]"
        )
    if len(shape) != 3 or 0 in shape:
        raise InputError(f"{found}; regions are [images, regions, width], at least one of each")
    if columns_first:
        raise InputError(f"{found}, in Fortran's order; save it with numpy.ascontiguousarray(array)")
    return (shape[0], shape[1], shape[2])


def place_of(path: Path, row: int) -> str:
    """Return how images.csv names a row of a .npy file: ``<file>.npy#<row>``."""
    assert path.suffix == ".npy", path
    return f"{path}#{row}"


def row_at(place: str) -> tuple[Path, int] | None:
    """Return the file and the row that a path of images.csv names; ``None`` where it is a picture."""
    file, mark, row = place.rpartition(_MARK)
    return (Path(f"{file}.npy"), int(row)) if mark and row.isdecimal() else None
