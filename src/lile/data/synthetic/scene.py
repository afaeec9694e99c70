"""The latent facts of one synthetic micrograph: what is drawn, and what its caption may say.

A scene is a function of (seed, index) alone. Lengths are in micrometres; a photograph at magnification M shows
``FIELD_UM_AT_X1 / M`` micrometres from side to side: the same tissue looks ten times larger at x400 than at x40.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lile.seeds import seed_for

MAGNIFICATIONS = (40, 100, 200, 400)
FIELD_UM_AT_X1 = 56_000.0

PATTERNS = (
    "glands",
    "cribriform",
    "papillae",
    "nests",
    "trabeculae",
    "sheets",
    "spindle",
    "collagen",
    "adipose",
    "follicles",
)
EPITHELIAL = frozenset({"glands", "cribriform", "papillae", "nests", "trabeculae", "sheets"})
CELLULAR = EPITHELIAL | {"spindle"}
SPACED = frozenset({"glands", "nests"})
DIRECTED = frozenset({"papillae", "trabeculae", "spindle", "collagen"})
PLACES = ("left", "right", "top", "bottom", "centre")
SIDES = ("left", "right", "top", "bottom")

MARKERS: dict[str, frozenset[str]] = {
    "Ki-67": CELLULAR | {"follicles"},
    "cytokeratin": EPITHELIAL,
    "HER2": EPITHELIAL,
    "CD45": frozenset({"glands", "nests", "collagen", "adipose", "follicles"}),
    "vimentin": frozenset({"spindle", "collagen", "nests", "glands"}),
    "CD34": frozenset({"spindle", "collagen", "adipose", "sheets"}),
}
"""Marker -> patterns it is drawn on. Each stains a part of its own: nuclei, epithelial cytoplasm, epithelial
membranes, lymphoid cells, stroma and spindle cells, vessel walls."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What one image shows. Words that do not apply to a pattern are empty strings.

    ``tint`` and ``exposure`` (laboratory and microscope) and ``texture`` (the seed of everything accidental) are never
    mentioned in a caption.
    """

    pattern: str
    stain: str
    marker: str
    intensity: str
    fraction: str
    magnification: int
    size: str
    spacing: str
    outline: str
    direction: str
    cellularity: str
    pleomorphism: str
    nucleoli: bool
    mitoses: str
    stroma: str
    lymphocytes: str
    necrosis: str
    haemorrhage: bool
    place: str
    mucin: bool
    calcification: bool
    vessels: bool
    edge: str
    tint: float
    exposure: float
    texture: int

    @property
    def field_um(self) -> float:
        """Side of the square field of view, in micrometres."""
        return FIELD_UM_AT_X1 / self.magnification

    @property
    def seen_place(self) -> str:
        """Where the necrosis or haemorrhage lies in the image; empty where there is neither."""
        return self.place if self.necrosis or self.haemorrhage else ""


def scene_for(seed: int, index: int) -> Scene:
    """Return the scene of item ``index``: the same for the same (seed, index), whatever was asked before.

    Args:
        seed: the archive's seed.
        index: item number, from 0.
    """
    rng = np.random.default_rng(seed_for(seed, "synthetic", "scene", index))
    pattern = _pick(rng, PATTERNS, (20, 8, 9, 12, 9, 14, 10, 6, 6, 6))
    facts: dict[str, Any] = {"pattern": pattern, **_photograph(rng), **_architecture(rng, pattern)}
    facts |= _cells(rng, pattern)
    facts |= _lesions(rng, pattern)
    facts |= _stain(rng, pattern)
    if facts["marker"] == "CD45" and pattern != "follicles":
        facts["lymphocytes"] = _pick(rng, ("scattered", "dense"))
    if facts["marker"] == "CD34":
        facts["vessels"] = True
    facts["edge"] = _free_edge(facts["edge"], facts["place"])
    return Scene(**facts)


def variant_of(scene: Scene, seed: int, index: int) -> Scene:
    """Return ``scene`` as another sub-figure shows it: another region, and mostly the next magnification up or down.

    Args:
        scene: the first sub-figure's scene.
        seed: the archive's seed.
        index: the other sub-figure's item number.
    """
    rng = np.random.default_rng(seed_for(seed, "synthetic", "variant", index))
    level = MAGNIFICATIONS.index(scene.magnification)
    near = [step for step in (level - 1, level, level + 1) if 0 <= step < len(MAGNIFICATIONS)]
    place = _pick(rng, PLACES)
    edge = _pick(rng, SIDES) if scene.edge and rng.random() < 0.5 else ""
    return replace(
        scene,
        magnification=MAGNIFICATIONS[int(rng.choice(near))],
        place=place,
        edge=_free_edge(edge, place),
        texture=int(rng.integers(2**32)),
    )


def _pick(rng: np.random.Generator, words: tuple[Any, ...], weights: tuple[float, ...] | None = None) -> Any:
    """One of ``words``, by weight where weights are given."""
    if weights is None:
        return words[int(rng.integers(len(words)))]
    return words[int(np.searchsorted(np.cumsum(weights), rng.random() * sum(weights), side="right"))]


def _free_edge(edge: str, place: str) -> str:
    """The specimen's edge, moved to the other side where it would cut away the lesion at ``place``."""
    return (
        {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[edge] if edge and edge == place else edge
    )


def _photograph(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "magnification": _pick(rng, MAGNIFICATIONS, (15, 27, 31, 27)),
        "edge": _pick(rng, SIDES) if rng.random() < 0.12 else "",
        "tint": float(rng.normal(0.0, 0.06)),
        "exposure": float(rng.normal(1.0, 0.05)),
        "texture": int(rng.integers(2**32)),
    }


def _architecture(rng: np.random.Generator, pattern: str) -> dict[str, Any]:
    return {
        "size": _pick(rng, ("small", "medium", "large")) if pattern != "spindle" else "medium",
        "spacing": _pick(rng, ("sparse", "moderate", "crowded")) if pattern in SPACED else "",
        "outline": _pick(rng, ("round", "irregular")) if pattern in SPACED else "",
        "direction": _pick(rng, ("horizontal", "vertical", "oblique")) if pattern in DIRECTED else "",
        "stroma": _pick(rng, ("loose", "dense")),
    }


def _cells(rng: np.random.Generator, pattern: str) -> dict[str, Any]:
    tumour = pattern in CELLULAR
    return {
        "cellularity": _pick(rng, ("low", "moderate", "high")) if tumour else "",
        "pleomorphism": _pick(rng, ("mild", "moderate", "marked"), (4, 3, 4)) if tumour else "",
        "nucleoli": bool(tumour and rng.random() < 0.3),
        "mitoses": _pick(rng, ("", "few", "many"), (55, 20, 25)) if tumour else "",
        "lymphocytes": _pick(rng, ("", "scattered", "dense"), (60, 18, 22)) if pattern != "follicles" else "",
    }


def _lesions(rng: np.random.Generator, pattern: str) -> dict[str, Any]:
    """At most one thing that covers a part of the field (necrosis or blood), and a few small ones."""
    roll = rng.random()
    tumour = pattern in CELLULAR
    return {
        "necrosis": _pick(rng, ("focal", "extensive")) if tumour and roll < 0.24 else "",
        "haemorrhage": bool(roll > 0.87),
        "place": _pick(rng, PLACES),
        "mucin": bool(pattern in {"glands", "cribriform", "papillae", "sheets"} and rng.random() < 0.18),
        "calcification": bool(rng.random() < 0.12),
        "vessels": bool(rng.random() < 0.18),
    }


def _stain(rng: np.random.Generator, pattern: str) -> dict[str, Any]:
    if rng.random() < 0.68:
        return {"stain": "H&E", "marker": "", "intensity": "", "fraction": ""}
    marker = _pick(rng, tuple(name for name, patterns in MARKERS.items() if pattern in patterns))
    return {
        "stain": "IHC",
        "marker": marker,
        "intensity": _pick(rng, ("weak", "moderate", "strong")),
        "fraction": _pick(rng, ("focal", "patchy", "diffuse")) if marker not in {"CD34", "CD45"} else "",
    }
