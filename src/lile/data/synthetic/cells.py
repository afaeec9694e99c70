"""Cells: where nuclei lie, how they look, and how they are painted onto a plane of dye.

Shapes: N nuclei, K side of the square window one nucleus is painted in, S side of the image in pixels.
Nuclei hold positions and axes in micrometres; all are painted at once, the darker one wins where two overlap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from lile.data.synthetic.fields import View, at, lattice

LEAST_DIAMETER_PX = 1.5


@dataclass(frozen=True, slots=True)
class Nuclei:
    """N nuclei: centres, half axes, turn, dye at the rim (``dark``) and the share of it in the middle."""

    x_um: np.ndarray
    y_um: np.ndarray
    long_um: np.ndarray
    short_um: np.ndarray
    angle_rad: np.ndarray
    dark: np.ndarray
    middle: float

    def __len__(self) -> int:
        return len(self.x_um)

    def where(self, keep: np.ndarray) -> Nuclei:
        """Those for which ``keep`` [N] is true."""
        x, y, long, short = (axis[keep] for axis in (self.x_um, self.y_um, self.long_um, self.short_um))
        return Nuclei(x, y, long, short, self.angle_rad[keep], self.dark[keep], self.middle)

    def with_dark(self, dark: np.ndarray) -> Nuclei:
        """The same nuclei with other dye."""
        return replace(self, dark=dark)


@dataclass(frozen=True, slots=True)
class Points:
    """N points in micrometres; ``gain`` is how many true points each stands for where pixels are too coarse for all."""

    x_um: np.ndarray
    y_um: np.ndarray
    gain: float


def scatter(view: View, spacing_um: float, share: np.ndarray, jitter: float = 0.9) -> Points:
    """Points about ``spacing_um`` apart (never denser than the pixels can show), kept with probability ``share``.

    Args:
        view: the field of view.
        spacing_um: mean distance.
        share: [S, S] probability that a point at this pixel is kept.
        jitter: irregularity, see ``lattice``.
    """
    spacing = max(spacing_um, 1.25 * view.um_per_px)
    points = lattice(view, spacing, jitter).points_um.reshape(-1, 2)
    margin = 6.0
    inside = ((points > -margin) & (points < view.side_um + margin)).all(axis=1)
    x, y = points[inside].T
    keep = view.rng.random(len(x), dtype=np.float32) < at(view, share, x, y)
    return Points(x[keep], y[keep], (spacing / spacing_um) ** 2)


def nuclei(
    view: View,
    points: Points,
    diameter_um: float,
    spread: float = 0.08,
    stretch: float = 1.15,
    angle_rad: np.ndarray | float | None = None,
    dark: float = 1.0,
    middle: float = 0.7,
) -> Nuclei:
    """Nuclei at the given points.

    Args:
        view: the field of view.
        points: their centres.
        diameter_um: mean diameter.
        spread: standard deviation of the logarithm of the diameter; dye and shape vary with it.
        stretch: mean ratio of the axes.
        angle_rad: direction of the long axis; None is any.
        dark: dye at the rim.
        middle: dye in the middle, as a share (below 1: vesicular).
    """
    rng, count = view.rng, len(points.x_um)
    diameter = diameter_um * np.exp(spread * rng.standard_normal(count, dtype=np.float32).clip(-1.6, 2.2))
    ratio = np.sqrt(stretch * np.exp(0.6 * spread * rng.standard_normal(count, dtype=np.float32)))
    if angle_rad is None:
        angle = rng.random(count, dtype=np.float32) * np.float32(np.pi)
    else:
        angle = np.asarray(angle_rad + 0.14 * rng.standard_normal(count, dtype=np.float32), np.float32)
    dye = dark * np.exp((0.08 + 0.45 * spread) * rng.standard_normal(count, dtype=np.float32))
    half = diameter / 2
    faint = _faint(view, half, points.gain)
    return Nuclei(points.x_um, points.y_um, half * ratio, half / ratio, angle, dye * faint, middle)


def _faint(view: View, half_um: np.ndarray, gain: float) -> np.ndarray:
    """What is left of the dye when a nucleus smaller than the least drawn size is spread over that size."""
    least_um = LEAST_DIAMETER_PX / 2 * view.um_per_px
    return np.minimum(1, gain * np.minimum(1, half_um / least_um) ** 2).astype(np.float32)


def aligned(view: View, cells: Nuclei, signed_um: np.ndarray, target_um: float) -> Nuclei:
    """Move nuclei onto the contour ``signed_um == target_um`` and stand them across it, as epithelium lines up."""
    down, across = np.gradient(signed_um)
    gx, gy = at(view, across, cells.x_um, cells.y_um), at(view, down, cells.x_um, cells.y_um)
    size = np.hypot(gx, gy) + 1e-6
    step = np.clip(0.75 * (target_um - at(view, signed_um, cells.x_um, cells.y_um)), -9, 9)
    return replace(
        cells,
        x_um=cells.x_um + step * gx / size,
        y_um=cells.y_um + step * gy / size,
        angle_rad=np.arctan2(-gy, gx).astype(np.float32),
    )


def paint(plane: np.ndarray, view: View, cells: Nuclei) -> None:
    """Paint nuclei onto a plane of dye [S, S], in place; the larger amount wins.

    The few that are much larger than the rest are painted in a window of their own size.
    """
    usual = cells.long_um < (1.35 * np.median(cells.long_um) if len(cells) else 0)
    for part in (cells.where(usual), cells.where(~usual)):
        if len(part):
            _paint_window(plane, view, part)


def _paint_window(plane: np.ndarray, view: View, cells: Nuclei) -> None:
    """Paint nuclei in square windows [N, K, K] that hold the largest of them."""
    least, scale = np.float32(LEAST_DIAMETER_PX / 2), np.float32(view.um_per_px)
    long_px, short_px = np.maximum(cells.long_um / scale, least), np.maximum(cells.short_um / scale, least)
    reach = math.ceil(float(long_px.max()) + 0.2)
    x, y = cells.x_um / scale - 0.5, cells.y_um / scale - 0.5
    column, row = np.rint(x).astype(np.int32), np.rint(y).astype(np.int32)
    window = np.arange(-reach, reach + 1, dtype=np.int32)
    dx = window[None, :] + (column - x).astype(np.float32)[:, None]
    dy = window[None, :] + (row - y).astype(np.float32)[:, None]
    radius_sq = _ellipse(dx, dy, long_px, short_px, cells.angle_rad)
    rows, columns = row[:, None] + window, column[:, None] + window
    size = plane.shape[0]
    radius_sq += np.where((rows < 0) | (rows >= size), np.float32(1e6), np.float32(0))[:, :, None]
    radius_sq += np.where((columns < 0) | (columns >= size), np.float32(1e6), np.float32(0))[:, None, :]
    reached = ((1 + 0.5 / short_px) ** 2)[:, None, None]
    which, i, j = np.nonzero(radius_sq < reached)
    inside = radius_sq[which, i, j]
    cover = np.minimum((1 - np.sqrt(inside)) * short_px[which] + 0.5, 1)
    value = cover * cells.dark[which] * (cells.middle + (1 - cells.middle) * np.minimum(inside, 1))
    np.maximum.at(plane.reshape(-1), rows[which, i] * size + columns[which, j], value.astype(np.float32))


def _ellipse(
    dx: np.ndarray, dy: np.ndarray, long_px: np.ndarray, short_px: np.ndarray, angle_rad: np.ndarray
) -> np.ndarray:
    """Squared elliptical radius [N, K, K] (1 on the border) for offsets ``dx``, ``dy`` [N, K]."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    long_sq, short_sq = 1 / long_px**2, 1 / short_px**2
    xx = (cos**2 * long_sq + sin**2 * short_sq)[:, None] * dx**2
    yy = (sin**2 * long_sq + cos**2 * short_sq)[:, None] * dy**2
    xy = (2 * sin * cos * (short_sq - long_sq))[:, None] * dy
    radius_sq: np.ndarray = xy[:, :, None] * dx[:, None, :]
    radius_sq += xx[:, None, :]
    radius_sq += yy[:, :, None]
    return radius_sq
