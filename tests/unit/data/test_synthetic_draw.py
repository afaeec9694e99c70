"""Drawings: the same bytes every time, and what the scene says can be read from the pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lile.data.synthetic.cells import nuclei, paint, scatter
from lile.data.synthetic.draw import check_size, draw
from lile.data.synthetic.fields import lattice, nearest, view_of
from lile.data.synthetic.scene import PATTERNS, Scene, scene_for
from lile.errors import InputError

PLAIN = replace(
    scene_for(0, 0),
    pattern="sheets",
    stain="H&E",
    marker="",
    intensity="",
    fraction="",
    magnification=200,
    size="medium",
    cellularity="moderate",
    pleomorphism="mild",
    nucleoli=False,
    mitoses="",
    stroma="loose",
    lymphocytes="",
    necrosis="",
    haemorrhage=False,
    mucin=False,
    calcification=False,
    vessels=False,
    edge="",
    tint=0.0,
    exposure=1.0,
)


def several(count: int = 6, **facts: object) -> np.ndarray:
    """Drawings [count, S, S, 3] of the plain scene with other facts, each with another texture."""
    return np.stack([draw(replace(PLAIN, texture=texture, **facts), 96) for texture in range(count)]).astype(float)


def dark(pictures: np.ndarray) -> float:
    """Share of pixels as dark as a nucleus."""
    return float((pictures[..., 0] < 120).mean())


@pytest.mark.parametrize("size_px", [32, 96, 97, 224])
def test_drawings_have_the_size_and_the_same_bytes_twice(size_px: int):
    first = [draw(scene_for(1, index), size_px) for index in range(12)]
    again = [draw(scene_for(1, index), size_px) for index in reversed(range(12))][::-1]
    for one, two in zip(first, again, strict=True):
        assert one.dtype == np.uint8
        assert one.shape == (size_px, size_px, 3)
        assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("magnification", [40, 400])
def test_every_pattern_is_drawn_at_every_size(pattern: str, magnification: int):
    facts = {"direction": "vertical", "spacing": "crowded", "outline": "irregular", "pleomorphism": "marked"}
    for size in ("small", "large"):
        picture = draw(replace(PLAIN, pattern=pattern, magnification=magnification, size=size, **facts), 96)
        assert 8 < picture.std() < 110
        assert 60 < picture.mean() < 246


@pytest.mark.parametrize("size_px", [0, -96, 31, 1025, 96.0, "96", True, None])
def test_absurd_sizes_are_refused(size_px: object):
    with pytest.raises(InputError, match="size_px"):
        check_size(size_px)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="32 to 1024"):
        draw(PLAIN, size_px)  # type: ignore[arg-type]


def test_more_cells_are_darker():
    shares = [dark(several(cellularity=words)) for words in ("low", "moderate", "high")]
    assert shares[0] * 1.25 < shares[1]
    assert shares[1] * 1.25 < shares[2]


def test_magnification_enlarges_nuclei():
    runs = []
    for magnification in (100, 200, 400):
        inked = several(magnification=magnification, cellularity="low")[..., 0] < 130
        starts = (inked[:, :, 1:] & ~inked[:, :, :-1]).sum()
        runs.append(inked.sum() / starts)
    assert runs[0] < runs[1] < runs[2]
    assert runs[2] > 1.6 * runs[1]


def test_pleomorphism_spreads_nuclear_sizes():
    def sizes(pleomorphism: str) -> np.ndarray:
        view = view_of(replace(PLAIN, pleomorphism=pleomorphism), 96)
        points = scatter(view, 12, np.ones((96, 96), np.float32))
        return nuclei(view, points, 8, {"mild": 0.05, "marked": 0.42}[pleomorphism]).long_um

    assert sizes("marked").std() > 4 * sizes("mild").std()
    big = {words: dark(several(pleomorphism=words)) for words in ("mild", "marked")}
    assert big["marked"] > 1.3 * big["mild"]


@pytest.mark.parametrize("place", ["left", "right", "top", "bottom", "centre"])
@pytest.mark.parametrize("lesion", [{"necrosis": "focal"}, {"haemorrhage": True}])
def test_lesions_lie_where_the_scene_says(place: str, lesion: dict[str, object]):
    change = np.abs(several(place=place, **lesion) - several()).sum(-1).mean(0)
    y, x = (float((change * axis).sum() / change.sum()) / 96 for axis in np.mgrid[:96, :96])
    expected = {"left": x < 0.4, "right": x > 0.6, "top": y < 0.4, "bottom": y > 0.6}
    assert expected.get(place, 0.4 < x < 0.6 and 0.4 < y < 0.6), (x, y)


def test_necrosis_is_pink_and_grows():
    pink = [(several(necrosis=words)[..., 0] - several(necrosis=words)[..., 1]).mean() for words in ("", "focal")]
    pink.append((several(necrosis="extensive")[..., 0] - several(necrosis="extensive")[..., 1]).mean())
    assert pink[0] + 8 < pink[1]
    assert pink[1] + 15 < pink[2]


@pytest.mark.parametrize(
    "facts",
    [
        {"mitoses": "many", "magnification": 400},
        {"lymphocytes": "dense"},
        {"lymphocytes": "scattered"},
        {"mucin": True},
        {"calcification": True},
        {"vessels": True},
        {"edge": "left"},
        {"nucleoli": True, "magnification": 400},
    ],
    ids=lambda facts: next(iter(facts)),
)
def test_every_addition_shows(facts: dict[str, object]):
    without = {"magnification": facts.get("magnification", 200)}
    change = np.abs(several(**facts) - several(**without)).mean(-1)
    assert ((change > 25).mean(axis=(1, 2)) > 0.01).all()


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_beyond_the_edge_is_bare_glass(side: str):
    band = {"left": np.s_[:, :10], "right": np.s_[:, -10:], "top": np.s_[:10], "bottom": np.s_[-10:]}[side]
    for picture in several(edge=side, vessels=True, calcification=True, mitoses="many"):
        assert picture[band].mean() > 235


@pytest.mark.parametrize("marker", ["Ki-67", "cytokeratin", "HER2"])
def test_more_and_stronger_staining_is_browner(marker: str):
    def brown(fraction: str, intensity: str) -> float:
        pictures = several(stain="IHC", marker=marker, fraction=fraction, intensity=intensity)
        return float(np.clip(pictures[..., 0] - pictures[..., 2], 0, None).mean())

    assert brown("focal", "strong") < brown("patchy", "strong") < brown("diffuse", "strong")
    assert brown("diffuse", "weak") < brown("diffuse", "moderate") < brown("diffuse", "strong")


def probe(features: np.ndarray, labels: np.ndarray) -> float:
    """Balanced accuracy of a ridge classifier on the second half of the rows, trained on the first."""
    half = len(labels) // 2
    features = (features - features[:half].mean(0)) / (features[:half].std(0) + 1e-6)
    features = np.hstack([features, np.ones((len(features), 1))])
    x, y = features[:half], np.where(labels[:half], 1 / labels[:half].mean(), -1 / (1 - labels[:half].mean()))
    weights = np.linalg.solve(x.T @ x + 10 * np.eye(x.shape[1]), x.T @ y)
    found, truth = features[half:] @ weights > 0, labels[half:]
    return float((found[truth].mean() + (~found[~truth]).mean()) / 2)


def test_facts_can_be_read_from_simple_statistics_of_any_scene():
    scenes = [scene_for(11, index) for index in range(500)]
    features = []
    for scene in scenes:
        picture = draw(scene, 96) / 255.0
        colours = np.stack([*picture.transpose(2, 0, 1), picture[..., 0] - picture[..., 2]])
        tiles = picture.reshape(6, 16, 6, 16, 3)
        features.append(
            np.hstack(
                [
                    np.quantile(colours, [0.05, 0.25, 0.5, 0.75, 0.95], axis=(1, 2)).ravel(),
                    tiles.std(axis=(1, 3)).mean(axis=(0, 1)),
                    tiles.mean(axis=(1, 3)).std(axis=(0, 1)),
                ]
            )
        )
    rows = np.array(features)
    questions = {
        "immunostain": ([scene.stain == "IHC" for scene in scenes], 0.9),
        "necrosis": ([bool(scene.necrosis) for scene in scenes], 0.65),
        "haemorrhage": ([scene.haemorrhage for scene in scenes], 0.8),
        "low power": ([scene.magnification <= 100 for scene in scenes], 0.7),
        "empty space": ([scene.pattern in {"adipose", "papillae"} for scene in scenes], 0.7),
    }
    found = {name: probe(rows, np.array(labels)) for name, (labels, _) in questions.items()}
    assert all(found[name] >= least for name, (_, least) in questions.items()), found


def test_nearest_is_the_nearest():
    view = view_of(PLAIN, 64)
    points = lattice(view, 40.0, 0.8)
    first, second, which = nearest(points, view.x_um, view.y_um)
    flat = points.points_um.reshape(-1, 2)
    distances = np.sort(np.hypot(view.x_um[..., None] - flat[:, 0], view.y_um[..., None] - flat[:, 1]), axis=-1)
    np.testing.assert_allclose(first, distances[..., 0], atol=1e-3)
    assert (np.abs(second - distances[..., 1]) < 1e-3).mean() > 0.99
    np.testing.assert_allclose(
        np.hypot(flat[which][..., 0] - view.x_um, flat[which][..., 1] - view.y_um), first, atol=1e-3
    )


def test_paint_makes_an_ellipse_of_the_size_asked_for():
    view = view_of(replace(PLAIN, magnification=400), 96)
    x = np.array([view.side_um / 2], np.float32)
    one = nuclei(view, type(scatter(view, 50, np.ones((96, 96))))(x, x, 1.0), 30, 0.0, 2.0, 0.0, 1.0, 1.0)
    plane = np.zeros((96, 96), np.float32)
    paint(plane, view, one)
    rows, columns = np.nonzero(plane > 0.5)
    width, height = ((np.ptp(axis) + 1) * view.um_per_px for axis in (columns, rows))
    assert width == pytest.approx(2 * one.long_um[0], abs=2.5 * view.um_per_px)
    assert height == pytest.approx(2 * one.short_um[0], abs=2.5 * view.um_per_px)
    assert width > 1.6 * height


def test_scene_is_what_scene_for_gives():
    assert isinstance(PLAIN, Scene)
