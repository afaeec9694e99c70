"""From a scene to pixels: dyes are laid onto planes and absorb light as in a bright-field microscope.

Shapes: S side of the image in pixels, P planes of dye (haematoxylin, eosin, chromogen, blood, mucin).
Transmitted light is ``exp(-sum_P amount * absorbance)`` per colour (Beer-Lambert).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from lile.data.synthetic import lesions
from lile.data.synthetic.cells import Nuclei, Points, aligned, nuclei, paint, scatter
from lile.data.synthetic.fields import View, lattice, nearest, noise, view_of
from lile.data.synthetic.scene import EPITHELIAL, Scene
from lile.data.synthetic.tissue import Tissue, tissue_of
from lile.errors import InputError

LEAST_SIZE_PX, MOST_SIZE_PX = 32, 1024

HAEMATOXYLIN, EOSIN, CHROMOGEN, BLOOD, MUCIN = range(5)
ABSORBANCE = np.array(
    [
        (0.98, 1.02, 0.42),
        (0.10, 0.62, 0.27),
        (0.50, 0.95, 1.55),
        (0.10, 1.15, 1.05),
        (0.36, 0.23, 0.07),
    ],
    dtype=np.float32,
)
"""Absorbance per colour (red, green, blue) of one unit of each dye, chosen by eye."""

CELL_UM = {"low": 19.0, "moderate": 13.5, "high": 10.2, "": 13.5}
NUCLEUS_UM = {"mild": 6.8, "moderate": 8.2, "marked": 9.8, "": 7.0}
SPREAD = {"mild": 0.05, "moderate": 0.2, "marked": 0.42, "": 0.08}
DARK = {"mild": 0.85, "moderate": 1.0, "marked": 1.2, "": 0.9}
CHROMOGEN_AMOUNT = {"weak": 0.34, "moderate": 0.75, "strong": 1.4}
FRACTION = {"focal": 0.14, "patchy": 0.48, "diffuse": 0.96, "": 1.0}


@dataclass(slots=True)
class Canvas:
    """One picture in the making: planes of dye [P, S, S]; where living tissue still is and where bare glass [S, S]."""

    scene: Scene
    view: View
    tissue: Tissue
    planes: np.ndarray
    solid: np.ndarray
    beyond: np.ndarray


def draw(scene: Scene, size_px: int) -> np.ndarray:
    """Draw ``scene``: the same bytes every time.

    Args:
        scene: what to show.
        size_px: side S of the square image.

    Returns:
        uint8 [S, S, 3], RGB.

    Raises:
        InputError: ``size_px`` is not a whole number of pixels between 32 and 1024.
    """
    check_size(size_px)
    view = view_of(scene, size_px)
    tissue = tissue_of(view, scene)
    planes = np.zeros((len(ABSORBANCE), size_px, size_px), np.float32)
    beyond = lesions.beyond_edge(view, scene)
    canvas = Canvas(scene, view, tissue, planes, (1 - tissue.empty) * (1 - beyond), beyond)
    lesions.open_spaces(canvas)
    _background(canvas)
    _populate(canvas)
    lesions.add(canvas)
    if scene.stain == "IHC":
        _immunostain(canvas)
    canvas.planes *= 1 - beyond
    return _develop(canvas)


def check_size(size_px: int) -> None:
    """Raise ``InputError`` unless ``size_px`` is a side an image can be drawn at."""
    if isinstance(size_px, bool) or not isinstance(size_px, int) or not LEAST_SIZE_PX <= size_px <= MOST_SIZE_PX:
        raise InputError(
            f"synthetic images: size_px is {size_px!r}; give a whole number from {LEAST_SIZE_PX} to {MOST_SIZE_PX}"
        )


def _background(canvas: Canvas) -> None:
    """Cytoplasm and stroma, before any nucleus."""
    scene, view, tissue = canvas.scene, canvas.view, canvas.tissue
    amphophilic = {"nests": 0.10, "sheets": 0.34}.get(scene.pattern, 0.28)
    grain = 1 + 0.16 * noise(view, 5) + 0.10 * noise(view, 40)
    epithelium = tissue.epithelium
    eosin = epithelium * {"nests": 0.72}.get(scene.pattern, 0.46) * grain + tissue.extra * (1 - epithelium)
    if tissue.bare is not None:
        eosin = np.maximum(eosin, tissue.extra * tissue.bare)
    canvas.planes[EOSIN] += np.maximum(eosin, 0.05) * canvas.solid
    canvas.planes[HAEMATOXYLIN] += (epithelium * amphophilic * grain + 0.05) * canvas.solid
    if scene.stroma == "loose" and scene.pattern in EPITHELIAL:
        canvas.planes[MUCIN] += 0.22 * tissue.stroma * canvas.solid


def _populate(canvas: Canvas) -> None:
    """Nuclei of epithelium, stroma, spindle cells, fat and lymphoid tissue."""
    scene, view, tissue = canvas.scene, canvas.view, canvas.tissue
    living = canvas.solid * (1 - (tissue.bare if tissue.bare is not None else 0))
    if scene.pattern in EPITHELIAL:
        _stain_nuclei(canvas, _epithelial_nuclei(canvas, tissue.epithelium * living))
    if scene.pattern == "spindle":
        points = scatter(view, 0.95 * CELL_UM[scene.cellularity], living)
        _stain_nuclei(canvas, _tumour_nuclei(canvas, points, 3.2, np.deg2rad(tissue.angle_deg)))
    else:
        points = scatter(view, 24 if scene.stroma == "loose" else 30, tissue.stroma * living)
        angle = np.deg2rad(tissue.angle_deg) if scene.pattern in {"collagen", "trabeculae"} else None
        paint(canvas.planes[HAEMATOXYLIN], view, nuclei(view, points, 5.6, 0.1, 3.0, angle, 0.85, 0.9))
    if tissue.lymphoid is not None:
        _lymphoid_nuclei(canvas, tissue.lymphoid)


def _epithelial_nuclei(canvas: Canvas, share: np.ndarray) -> Nuclei:
    scene, view, tissue = canvas.scene, canvas.view, canvas.tissue
    if tissue.signed_um is None:
        points = scatter(view, CELL_UM[scene.cellularity], share, 0.7)
        return _tumour_nuclei(canvas, points, 1.15, None)
    points = scatter(view, 0.78 * CELL_UM[scene.cellularity], share)
    cells = _tumour_nuclei(canvas, points, 1.45, None)
    return aligned(view, cells, tissue.signed_um, -tissue.basal_um)


def _tumour_nuclei(canvas: Canvas, points: Points, stretch: float, angle: float | None) -> Nuclei:
    scene = canvas.scene
    dark = DARK[scene.pleomorphism]
    middle = 0.42 if scene.nucleoli else 0.8
    diameter = NUCLEUS_UM[scene.pleomorphism]
    return nuclei(canvas.view, points, diameter, SPREAD[scene.pleomorphism], stretch, angle, dark, middle)


def _stain_nuclei(canvas: Canvas, cells: Nuclei) -> None:
    """Haematoxylin, or for a nuclear marker brown in the scene's fraction of the nuclei; then nucleoli."""
    scene, view = canvas.scene, canvas.view
    if scene.marker == "Ki-67":
        positive = view.rng.random(len(cells)) < FRACTION[scene.fraction]
        amount = CHROMOGEN_AMOUNT[scene.intensity] * np.maximum(0.7, cells.dark)
        paint(canvas.planes[CHROMOGEN], view, cells.with_dark(1.15 * amount).where(positive))
        cells = cells.where(~positive)
    paint(canvas.planes[HAEMATOXYLIN], view, cells)
    if scene.nucleoli and view.um_per_px < 3:
        dots = nuclei(view, Points(cells.x_um, cells.y_um, 1), 2.7, 0.1, 1.0, None, 1.75, 1.0)
        paint(canvas.planes[HAEMATOXYLIN], view, dots)


def _lymphoid_nuclei(canvas: Canvas, crowd: np.ndarray) -> None:
    view = canvas.view
    points = scatter(view, 6.6, np.clip(crowd, 0, 1) * canvas.solid)
    _stain_nuclei(canvas, nuclei(view, points, 5.4, 0.06, 1.05, None, 1.25, 0.95))
    points = scatter(view, 12.5, np.clip(0.45 - crowd, 0, 0.4) * 2.2 * canvas.solid)
    _stain_nuclei(canvas, nuclei(view, points, 8.0, 0.12, 1.2, None, 0.75, 0.55))
    if canvas.scene.marker == "CD45":
        canvas.planes[CHROMOGEN] += np.clip(0.25 + crowd, 0, 1) * CHROMOGEN_AMOUNT[canvas.scene.intensity] * 0.8


def _immunostain(canvas: Canvas) -> None:
    """Turn eosin and haematoxylin into a pale counterstain and lay the chromogen of cytoplasmic markers."""
    scene, view, tissue = canvas.scene, canvas.view, canvas.tissue
    part = None
    if scene.marker == "cytokeratin":
        part = tissue.epithelium
    if scene.marker == "HER2":
        part = tissue.epithelium * _membranes(view, CELL_UM[scene.cellularity])
    if scene.marker == "vimentin":
        part = np.clip(tissue.extra * 1.3, 0, 1) * (1 - tissue.epithelium)
    if part is not None:
        part = part * canvas.solid
        part = part * _patches(view, FRACTION[scene.fraction], part) * (1 + 0.25 * noise(view, 4))
        canvas.planes[CHROMOGEN] += part * CHROMOGEN_AMOUNT[scene.intensity]
    canvas.planes[HAEMATOXYLIN] *= 0.62
    canvas.planes[HAEMATOXYLIN] += 0.10 * canvas.planes[EOSIN]
    canvas.planes[EOSIN] *= 0.10
    canvas.planes[MUCIN] *= 0.6


def _patches(view: View, fraction: float, part: np.ndarray) -> np.ndarray:
    """Smooth patches [S, S] that cover ``fraction`` of the pixels where ``part`` is."""
    if fraction > 0.9:
        return np.ones_like(part)
    field = noise(view, view.side_um / 4)
    within = field[part > 0.1]
    return np.clip((field - np.quantile(within if len(within) else field, 1 - fraction)) * 8 + 0.5, 0, 1)


def _membranes(view: View, cell_um: float) -> np.ndarray:
    """Cell borders as a net, as wide as a pixel at least; an even tone where cells are too small to be told apart."""
    if cell_um < 3.2 * view.um_per_px:
        return np.full((view.size_px, view.size_px), 0.5, np.float32)
    first, second, _ = nearest(lattice(view, cell_um, 0.7), view.x_um, view.y_um)
    width = max(1.3, 0.5 * view.um_per_px)
    return np.clip(1.4 - (second - first) / (2 * width), 0.12, 1)


def _develop(canvas: Canvas) -> np.ndarray:
    """Planes of dye -> uint8 [S, S, 3], with the laboratory's tint, the lens and the camera."""
    scene, view = canvas.scene, canvas.view
    dyes = np.array([1 + scene.tint, 1 - scene.tint, 1, 1, 1], np.float32)[:, None] * ABSORBANCE
    light = np.exp(-np.maximum(canvas.planes, 0).reshape(5, -1).T @ dyes).reshape(view.size_px, view.size_px, 3)
    light *= np.float32(243 * min(1.04, math.sqrt(scene.exposure)))
    light += 2.2 * view.rng.standard_normal(light.shape, dtype=np.float32)
    pixels = Image.fromarray(np.clip(light, 0, 255).astype(np.uint8))
    return np.asarray(pixels.filter(ImageFilter.GaussianBlur(0.35 * view.size_px / 96)))
