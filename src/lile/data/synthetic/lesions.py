"""What lies on top of the architecture: necrosis, blood, mucin, inflammation, mitoses, calcium, vessels, the edge.

Shapes: S side of the image in pixels; every field is float32 [S, S].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lile.data.synthetic.cells import Points, nuclei, paint, scatter
from lile.data.synthetic.fields import View, blob, noise, soft
from lile.data.synthetic.scene import EPITHELIAL, Scene

if TYPE_CHECKING:
    from lile.data.synthetic.draw import Canvas

H, E, D, R, M = range(5)  # planes, in draw.py's order
EXTENT = {"focal": 0.25, "extensive": 0.52}


def beyond_edge(view: View, scene: Scene) -> np.ndarray:
    """1 where the slide is bare glass beyond the edge of the specimen, 0 on the tissue."""
    if not scene.edge:
        return np.zeros_like(view.x_um)
    side = view.side_um
    depth = {"left": view.x_um, "right": side - view.x_um, "top": view.y_um, "bottom": side - view.y_um}[scene.edge]
    return soft(view, depth - side * (0.24 + 0.05 * noise(view, side / 2.5) + 0.012 * noise(view, side / 12)))


def open_spaces(canvas: Canvas) -> None:
    """Make room before cells are placed: pools of mucin."""
    if canvas.scene.mucin:
        view = canvas.view
        field = noise(view, view.side_um / 2.2) + 0.35 * noise(view, view.side_um / 6)
        pool = np.clip((field - np.quantile(field, 0.70)) * 9, 0, 1) * (1 - canvas.tissue.empty)
        canvas.solid = canvas.solid * (1 - pool)
        strands = np.clip(1 - np.abs(noise(view, view.side_um / 7)) * 7, 0, 1)
        canvas.planes[M] += pool * (0.62 + 0.5 * strands)


def add(canvas: Canvas) -> None:
    """Add everything the scene names; what is small comes last, in places where it is not hidden."""
    scene = canvas.scene
    if scene.necrosis:
        _necrosis(canvas)
    if scene.haemorrhage:
        _haemorrhage(canvas)
    if scene.lymphocytes:
        _lymphocytes(canvas)
    if scene.mitoses:
        _mitoses(canvas)
    if scene.vessels:
        _vessels(canvas)
    if scene.calcification:
        _calcium(canvas)


def _lymphocytes(canvas: Canvas) -> None:
    """Small round dark nuclei: strewn over the stroma, or a dense band that spares nothing."""
    scene, view = canvas.scene, canvas.view
    if scene.lymphocytes == "dense":
        field = noise(view, view.side_um / 2)
        living = field[canvas.solid > 0.5]
        share = np.clip((field - np.quantile(living if len(living) else field, 0.58)) * 7, 0, 0.95)
    else:
        share = 0.16 * np.clip(canvas.tissue.stroma + 0.35, 0, 1)
    share = share * canvas.solid
    if scene.lymphocytes == "dense":  # what was there gives way: no stain of its cytoplasm hides the infiltrate
        canvas.planes[D] *= 1 - 0.85 * share
        canvas.solid = canvas.solid * (1 - 0.85 * share)
    points = scatter(view, 7.2, share)
    cells = nuclei(view, points, 5.6, 0.05, 1.05, None, 1.5, 1.0)
    paint(canvas.planes[H], view, cells)
    if scene.marker == "CD45":
        amount = {"weak": 0.4, "moderate": 0.85, "strong": 1.5}[scene.intensity]
        paint(canvas.planes[D], view, nuclei(view, points, 8.6, 0.05, 1.05, None, amount, 0.5))


def _spots(canvas: Canvas, count: int, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``count`` random points (micrometres) off the border of the picture, where ``share`` [S, S] is highest."""
    view = canvas.view
    margin = max(1, view.size_px // 10)
    inner = share[margin:-margin, margin:-margin]
    rows, columns = np.nonzero(inner >= 0.8 * inner.max())
    chosen = view.rng.integers(len(rows), size=count)
    x, y = ((axis[chosen] + margin + 0.5).astype(np.float32) * np.float32(view.um_per_px) for axis in (columns, rows))
    return x, y


def _mitoses(canvas: Canvas) -> None:
    """Dark ragged plates in cleared cells; a plate in metaphase, or two in anaphase."""
    scene, view = canvas.scene, canvas.view
    share = canvas.solid * (canvas.tissue.epithelium if scene.pattern in EPITHELIAL else 1)
    density = {"few": 0.00012, "many": 0.00055}[scene.mitoses]
    least = {"few": 1, "many": 5}[scene.mitoses]
    count = int(np.clip(density * view.side_um**2, least, 60))
    x, y = _spots(canvas, count, share)
    turn = view.rng.random(count) * np.pi
    clear = np.zeros_like(share)
    paint(clear, view, nuclei(view, Points(x, y, 1), 17, 0.05, 1.1, None, 1.0, 1.0))
    canvas.planes[H] *= 1 - 0.95 * clear
    canvas.planes[D] *= 1 - 0.95 * clear
    canvas.planes[E] *= 1 - 0.6 * clear
    for side in (-1.0, 1.0):
        shift = np.where(view.rng.random(count) < 0.5, 2.6, 0.5) * side
        px, py = x + shift * np.sin(turn), y + shift * np.cos(turn)
        plate = nuclei(view, Points(px, py, 1), 6.4, 0.12, 3.4, turn, 2.6, 1.0)
        paint(canvas.planes[H], view, plate)


def _vessels(canvas: Canvas) -> None:
    """Round and oval vessels: a pink wall, an open lumen, red cells inside."""
    view = canvas.view
    count = 2 + int(view.rng.integers(3))
    x, y = _spots(canvas, count, 1 - canvas.beyond)
    for index in range(count):
        radius = view.rng.uniform(0.75, 1.2) * max(17.0, 4.0 * view.um_per_px)
        turn, stretch = view.rng.uniform(0, np.pi), view.rng.uniform(1.1, 1.9)
        dx, dy = view.x_um - x[index], view.y_um - y[index]
        along, across = dx * np.cos(turn) + dy * np.sin(turn), dx * np.sin(turn) - dy * np.cos(turn)
        signed = np.hypot(along / stretch, across) - radius
        _one_vessel(canvas, signed.astype(np.float32), max(3.2, 1.2 * view.um_per_px))


def _one_vessel(canvas: Canvas, signed: np.ndarray, wall_um: float) -> None:
    view, scene = canvas.view, canvas.scene
    whole, lumen = soft(view, signed), soft(view, signed + wall_um)
    canvas.planes *= 1 - whole
    canvas.planes[E] += (whole - lumen) * 0.85
    canvas.planes[H] += (whole - lumen) * 0.18
    canvas.solid = canvas.solid * (1 - lumen)
    points = scatter(view, 6.0, lumen * 0.6)
    paint(canvas.planes[R], view, nuclei(view, points, 6.4, 0.05, 1.1, None, 0.8, 0.6))
    if scene.marker == "CD34":
        amount = {"weak": 0.45, "moderate": 0.9, "strong": 1.6}[scene.intensity]
        canvas.planes[D] += (whole - lumen) * amount


def _necrosis(canvas: Canvas) -> None:
    """Structureless granular eosin, ghosts of nuclei and dark dust."""
    scene, view = canvas.scene, canvas.view
    dead = blob(view, scene.place, EXTENT[scene.necrosis])
    canvas.planes *= 1 - 0.94 * dead
    canvas.planes[E] += dead * (0.98 + 0.22 * noise(view, 4) + 0.2 * noise(view, 14))
    canvas.solid = canvas.solid * (1 - dead)
    points = scatter(view, 12, dead * 0.35)
    paint(canvas.planes[H], view, nuclei(view, points, 2.2, 0.4, 1.2, None, 1.2, 1.0))


def _haemorrhage(canvas: Canvas) -> None:
    """A lake of red cells, each a disc with a paler middle."""
    scene, view = canvas.scene, canvas.view
    lake = blob(view, scene.place, 0.31)
    canvas.planes *= 1 - 0.88 * lake
    canvas.planes[R] += 0.30 * lake
    canvas.solid = canvas.solid * (1 - lake)
    points = scatter(view, 6.4, lake * 0.93)
    paint(canvas.planes[R], view, nuclei(view, points, 6.6, 0.04, 1.05, None, 1.0, 0.66))


def _calcium(canvas: Canvas) -> None:
    """One to four laminated, nearly black-purple bodies."""
    view = canvas.view
    count = 1 + int(view.rng.integers(4))
    for x, y in zip(*_spots(canvas, count, 1 - canvas.beyond), strict=True):
        radius = view.rng.uniform(0.8, 1.3) * max(11.0, 2.6 * view.um_per_px)
        distance = np.hypot(view.x_um - x, view.y_um - y) + 2.0 * noise(view, 14)
        body = soft(view, distance - radius)
        rings = 1 + 0.22 * np.sin(distance * np.float32(2 * np.pi / max(4.2, 2.5 * view.um_per_px)))
        canvas.planes *= 1 - body
        canvas.planes[H] += body * 2.1 * rings
        canvas.planes[E] += body * 0.5
