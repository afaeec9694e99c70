"""Tissue architecture: where epithelium, stroma and empty space lie, for each pattern.

Shapes: S side of the image in pixels; every field is float32 [S, S]. Signed distances are in micrometres,
negative inside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lile.data.synthetic.fields import View, fibres, lattice, nearest, noise, soft
from lile.data.synthetic.scene import Scene

SIZE = {"small": 0.6, "medium": 1.0, "large": 1.7}
SPACING = {"sparse": 2.1, "moderate": 1.45, "crowded": 1.08}
WARP = {"round": 0.06, "irregular": 0.42}
ANGLE_DEG = {"horizontal": 0.0, "vertical": 90.0, "oblique": 45.0}


@dataclass(frozen=True, slots=True)
class Tissue:
    """Parts of the field, each a share in [0, 1] per pixel.

    ``signed_um``, where given, is the signed distance to the outer border of the epithelium and ``basal_um`` the depth
    at which its nuclei line up. ``extra`` is eosin added to the background (keratin, fibres).
    """

    epithelium: np.ndarray
    empty: np.ndarray
    extra: np.ndarray
    signed_um: np.ndarray | None = None
    basal_um: float = 0.0
    lymphoid: np.ndarray | None = None
    bare: np.ndarray | None = None
    angle_deg: float = 0.0

    @property
    def stroma(self) -> np.ndarray:
        """What is neither epithelium nor empty."""
        return (1 - self.epithelium) * (1 - self.empty)


def tissue_of(view: View, scene: Scene) -> Tissue:
    """Lay out the tissue of ``scene`` in ``view``."""
    return LAYOUTS[scene.pattern](view, scene)


def connective(view: View, scene: Scene, angle_deg: float) -> np.ndarray:
    """Eosin of the stroma: pale and uneven where loose, dense wavy bundles where fibrous."""
    if scene.stroma == "dense":
        return 0.62 + 0.34 * fibres(view, angle_deg, 9, 90)
    return 0.24 + 0.16 * fibres(view, angle_deg, 7, 45) + 0.06 * noise(view, 30)


def _angle(view: View, scene: Scene) -> float:
    base = ANGLE_DEG.get(scene.direction, view.rng.uniform(0, 180))
    return float(base + view.rng.normal(0, 7))


def _warped(view: View, amount_um: float, wave_um: float) -> tuple[np.ndarray, np.ndarray]:
    return view.x_um + amount_um * noise(view, wave_um), view.y_um + amount_um * noise(view, wave_um)


def _islands(view: View, scene: Scene, radius_um: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Signed distance to rounded islands that do not touch, the distance to their centres, and their radius."""
    radius = radius_um * SIZE[scene.size]
    x, y = _warped(view, radius * WARP[scene.outline or "round"], radius * 1.3)
    points = lattice(view, 2 * radius * SPACING[scene.spacing or "moderate"], 0.45, centred=True)
    first, second, which = nearest(points, x, y)
    radii = radius * view.rng.uniform(0.8, 1.1, points.points_um.shape[0] ** 2).astype(np.float32)
    return np.maximum(first - radii[which], (first - second) / 2 + 3.0), first, radius


def _glands(view: View, scene: Scene) -> Tissue:
    signed, _, radius = _islands(view, scene, 42)
    wall = min(19.0, 0.62 * radius)
    empty = soft(view, signed + wall)
    extra = connective(view, scene, view.rng.uniform(0, 180))
    return Tissue(soft(view, signed) * (1 - empty), empty, extra, signed, 0.30 * wall)


def _cribriform(view: View, scene: Scene) -> Tissue:
    signed, _, _ = _islands(view, scene, 120)
    holes = lattice(view, 37, 0.6)
    first, _, which = nearest(holes, view.x_um, view.y_um)
    radii = view.rng.uniform(7, 13, holes.points_um.shape[0] ** 2).astype(np.float32)
    empty = soft(view, np.maximum(first - radii[which], signed + 13))
    extra = connective(view, scene, view.rng.uniform(0, 180))
    return Tissue(soft(view, signed) * (1 - empty), empty, extra)


def _papillae(view: View, scene: Scene) -> Tissue:
    """Fingers with a fibrovascular core, lined by epithelium, in empty space."""
    along, across = _turned(view, _angle(view, scene), 26, 130)
    period = min(92 * SIZE[scene.size], 0.75 * view.side_um)
    across += view.rng.uniform(0.35, 0.65) * period
    stripe = np.floor(across / period)
    beside = np.abs(across - (stripe + 0.5) * period)
    starts = view.rng.uniform(0, 1, 512).astype(np.float32)
    starts[0] = view.rng.uniform(0.4, 0.6)  # the finger in the middle of the field is not cut by a gap
    starts = starts[stripe.astype(np.intp) % len(starts)]
    length = 3.4 * period
    beyond = np.abs(((along / length + starts) % 1.0) - 0.5) * length - 0.5 * (length - period)
    reach = np.hypot(beside, np.maximum(beyond, 0))
    core = 0.13 * period
    wall = min(16.0, 0.24 * period)
    signed = reach - core - wall
    epithelium = soft(view, signed) * (1 - soft(view, reach - core))
    return Tissue(epithelium, 1 - soft(view, signed), connective(view, scene, 0), -(reach - core), 0.35 * wall)


def _nests(view: View, scene: Scene) -> Tissue:
    """Squamous islands with whorled keratin in the middle."""
    signed, first, radius = _islands(view, scene, 62)
    pearl = soft(view, first - 0.45 * radius + 3 * noise(view, 20)) * soft(view, signed + 10)
    ring = max(6.0, 2.5 * view.um_per_px)
    keratin = pearl * (1.05 + 0.45 * np.sin(first * np.float32(2 * np.pi / ring)))
    extra = np.where(signed < 0, 0, connective(view, scene, view.rng.uniform(0, 180))) + keratin
    return Tissue(soft(view, signed), np.zeros_like(first), extra, bare=pearl)


def _turned(view: View, angle_deg: float, warp_um: float, wave_um: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along and across a direction, from the middle of the field, gently warped."""
    x, y = (axis - view.side_um / 2 for axis in _warped(view, warp_um, wave_um))
    cos, sin = np.float32(np.cos(np.deg2rad(angle_deg))), np.float32(np.sin(np.deg2rad(angle_deg)))
    return x * cos - y * sin, x * sin + y * cos


def _trabeculae(view: View, scene: Scene) -> Tissue:
    angle = _angle(view, scene)
    _, across = _turned(view, angle, 34, 130)
    period = 46 * SIZE[scene.size]
    beside = np.abs((across / period) % 1.0 - 0.5) * period
    signed = beside - (0.29 + 0.10 * noise(view, 90)) * period
    return Tissue(soft(view, signed), np.zeros_like(signed), connective(view, scene, angle), angle_deg=angle)


def _sheets(view: View, scene: Scene) -> Tissue:
    """Nothing but tumour cells, with a thin septum here and there."""
    septa = np.abs(noise(view, 260)) * 130 - 3.5
    epithelium = 1 - soft(view, septa)
    return Tissue(epithelium, np.zeros_like(septa), connective(view, scene, view.rng.uniform(0, 180)))


def _spindle(view: View, scene: Scene) -> Tissue:
    angle = _angle(view, scene)
    extra = 0.45 + 0.30 * fibres(view, angle, 5, 80) + 0.10 * noise(view, 60)
    if scene.stroma == "loose":
        extra = extra * 0.55
    none = np.zeros_like(extra)
    return Tissue(none, none, extra, angle_deg=angle)


def _collagen(view: View, scene: Scene) -> Tissue:
    """Bands of collagen; clefts between them, wide where the stroma is loose."""
    angle = _angle(view, scene)
    bands = fibres(view, angle, 16, 130)
    empty = soft(view, (bands + (0.18 if scene.stroma == "loose" else 0.55)) * 18)
    none = np.zeros_like(bands)
    extra = (0.85 if scene.stroma == "dense" else 0.5) + 0.25 * fibres(view, angle, 5, 60)
    return Tissue(none, empty, extra, angle_deg=angle)


def _adipose(view: View, scene: Scene) -> Tissue:
    """Empty round cells with thin walls, and a fibrous septum."""
    points = lattice(view, 58 * SIZE[scene.size], 0.75)
    first, second, _ = nearest(points, view.x_um, view.y_um)
    wall = max(2.2, 0.45 * view.um_per_px)
    septum = np.abs(noise(view, 420)) * 420 - 12
    empty = soft(view, wall - (second - first) / 2) * soft(view, -septum)
    return Tissue(np.zeros_like(first), empty, 0.6 + 0.2 * noise(view, 12))


def _follicles(view: View, scene: Scene) -> Tissue:
    """Lymphoid tissue: pale germinal centres, each in a dark mantle."""
    radius = 62 * SIZE[scene.size]
    points = lattice(view, 3.3 * radius, 0.4, centred=True)
    x, y = _warped(view, radius * 0.15, radius)
    first, _, _ = nearest(points, x, y)
    centre = np.clip((radius - first) / 9 + 0.5, 0, 1)
    mantle = np.clip(1 - np.abs(first - radius * 1.25) / (radius * 0.3), 0, 1)
    none = np.zeros_like(first)
    return Tissue(
        none, none, 0.25 + 0.08 * noise(view, 25) + 0.12 * centre, lymphoid=0.62 - 0.5 * centre + 0.5 * mantle
    )


LAYOUTS: dict[str, Callable[[View, Scene], Tissue]] = {
    "glands": _glands,
    "cribriform": _cribriform,
    "papillae": _papillae,
    "nests": _nests,
    "trabeculae": _trabeculae,
    "sheets": _sheets,
    "spindle": _spindle,
    "collagen": _collagen,
    "adipose": _adipose,
    "follicles": _follicles,
}
