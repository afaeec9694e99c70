"""Fields over the image plane: coordinates in micrometres, smooth noise, fibres, cell lattices, blobs.

Shapes: S side of the image in pixels; every field is float32 [S, S]. ``x`` runs right, ``y`` down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lile.data.synthetic.scene import Scene

PLACE_XY = {"left": (0.14, 0.5), "right": (0.86, 0.5), "top": (0.5, 0.14), "bottom": (0.5, 0.86), "centre": (0.5, 0.5)}


@dataclass(frozen=True, slots=True)
class View:
    """The field of view: its side in pixels and micrometres, its pixel centres, and the scene's random numbers."""

    size_px: int
    um_per_px: float
    x_um: np.ndarray
    y_um: np.ndarray
    rng: np.random.Generator

    @property
    def side_um(self) -> float:
        """Side of the field in micrometres."""
        return self.size_px * self.um_per_px


@dataclass(frozen=True, slots=True)
class Lattice:
    """A jittered square lattice of points that covers the view: ``points_um`` [n, n, 2] as (x, y)."""

    spacing_um: float
    origin_um: tuple[float, float]
    points_um: np.ndarray


def view_of(scene: Scene, size_px: int) -> View:
    """Return the coordinates of ``scene`` at ``size_px`` pixels, with the generator of its accidents."""
    um_per_px = scene.field_um / size_px
    axis = (np.arange(size_px, dtype=np.float32) + 0.5) * np.float32(um_per_px)
    x_um, y_um = np.meshgrid(axis, axis)
    return View(size_px, um_per_px, x_um, y_um, np.random.default_rng([scene.texture, scene.magnification]))


def noise(view: View, wave_um: float, wave_y_um: float | None = None, size_px: int | None = None) -> np.ndarray:
    """Smooth noise in about [-1, 1] with the given wavelengths (x, and y if it differs), at least a pixel long.

    ``size_px`` asks for another side than the view's (fibres are turned and cropped).
    """
    side = size_px or view.size_px
    across = side * view.um_per_px / max(wave_um, view.um_per_px)
    down = side * view.um_per_px / max(wave_y_um or wave_um, view.um_per_px)
    coarse = view.rng.random((math.ceil(down) + 2, math.ceil(across) + 2), dtype=np.float32) * 2 - 1
    left, top = view.rng.random(2)
    box = (left, top, left + across, top + down)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC, box=box))


def fibres(view: View, angle_deg: float, width_um: float, length_um: float) -> np.ndarray:
    """Noise drawn out along ``angle_deg`` (0 = horizontal, counter-clockwise), in about [-1, 1]."""
    side = math.ceil(view.size_px * 1.45)
    image = Image.fromarray(noise(view, length_um, width_um, side)).rotate(angle_deg, Image.Resampling.BILINEAR)
    start = (side - view.size_px) // 2
    return np.asarray(image)[start : start + view.size_px, start : start + view.size_px]


def lattice(view: View, spacing_um: float, jitter: float = 0.8, centred: bool = False) -> Lattice:
    """A jittered lattice of points over the view.

    Args:
        view: the field of view.
        spacing_um: mean distance between neighbours.
        jitter: 0 = a regular grid, 1 = anywhere in the own cell.
        centred: put one point near the middle of the view, so that a single large structure is seen.
    """
    count = math.ceil(view.side_um / spacing_um) + 5
    shift = view.rng.random(2)
    middle_um = view.side_um * (0.5 + 0.24 * (shift - 0.5))
    if centred:
        shift = (0.5 - middle_um / spacing_um) % 1.0
    origin = (-(2 + shift) * spacing_um).astype(np.float32)
    offsets = 0.5 + jitter * (view.rng.random((count, count, 2), dtype=np.float32) - 0.5)
    if centred:
        cell = np.floor((middle_um - origin) / spacing_um).astype(int)
        offsets[cell[1], cell[0]] = 0.5
    index = np.arange(count, dtype=np.float32)
    corners = np.stack(np.meshgrid(index, index), axis=-1)
    points = (corners + offsets) * np.float32(spacing_um) + origin
    return Lattice(spacing_um, (float(origin[0]), float(origin[1])), points)


def nearest(points: Lattice, x_um: np.ndarray, y_um: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every (x, y): distance to the nearest and to the second point (micrometres), and which point is nearest.

    Only the 3 x 3 cells around are searched; with jitter below 1 that finds the nearest point, and nearly always the
    second. Coordinates may leave the view by about a spacing (warped fields).
    """
    count = points.points_um.shape[0]
    column = np.clip(((x_um - points.origin_um[0]) / points.spacing_um).astype(np.intp), 1, count - 2)
    row = np.clip(((y_um - points.origin_um[1]) / points.spacing_um).astype(np.intp), 1, count - 2)
    base = row * count + column
    px, py = (np.ascontiguousarray(points.points_um[..., axis]).ravel() for axis in (0, 1))
    first = np.full(x_um.shape, np.inf, dtype=np.float32)
    second, which = first.copy(), base
    for step in (-count - 1, -count, -count + 1, -1, 0, 1, count - 1, count, count + 1):
        cell = base + step
        distance = (px[cell] - x_um) ** 2 + (py[cell] - y_um) ** 2
        closer = distance < first
        second = np.minimum(second, np.maximum(first, distance))
        which = np.where(closer, cell, which)
        first = np.minimum(first, distance)
    return np.sqrt(first), np.sqrt(second), which


def soft(view: View, signed_um: np.ndarray) -> np.ndarray:
    """1 inside (negative signed distance), 0 outside, with an edge one pixel wide."""
    return np.clip(0.5 - signed_um / np.float32(view.um_per_px), 0.0, 1.0)


def blob(view: View, place: str, radius: float) -> np.ndarray:
    """A ragged patch around a named place; ``radius`` as a share of the field's side."""
    x, y = (share * view.side_um for share in PLACE_XY[place])
    ragged = noise(view, view.side_um / 3) * 0.10 + noise(view, view.side_um / 9) * 0.04
    distance = np.hypot(view.x_um - x, view.y_um - y) / np.float32(view.side_um)
    return np.clip((radius - distance + ragged) * 14 + 0.5, 0.0, 1.0)


def at(view: View, field: np.ndarray, x_um: np.ndarray, y_um: np.ndarray) -> np.ndarray:
    """The values of ``field`` at points; points outside take the border's."""
    last = view.size_px - 1
    column = np.clip((x_um / view.um_per_px).astype(np.intp), 0, last)
    row = np.clip((y_um / view.um_per_px).astype(np.intp), 0, last)
    values: np.ndarray = field[row, column]
    return values
