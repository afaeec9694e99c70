"""Scenes: a function of (seed, index), with facts that go together."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import pytest

from lile.data.synthetic.scene import (
    CELLULAR,
    EPITHELIAL,
    MAGNIFICATIONS,
    MARKERS,
    PATTERNS,
    SPACED,
    Scene,
    scene_for,
    variant_of,
)

SCENES = [scene_for(3, index) for index in range(1500)]


def test_a_scene_depends_on_seed_and_index_alone():
    again = {index: scene_for(3, index) for index in reversed(range(200))}
    assert [again[index] for index in range(200)] == SCENES[:200]
    assert scene_for(4, 0) != scene_for(3, 0)
    assert len({scene.texture for scene in SCENES}) == len(SCENES)


def test_every_word_occurs_often_enough_to_be_learnt():
    for name in ("pattern", "marker", "magnification", "necrosis", "lymphocytes", "mitoses", "pleomorphism", "edge"):
        counts = Counter(getattr(scene, name) for scene in SCENES)
        assert len(counts) >= 3
        assert min(counts.values()) >= 25, (name, counts)
    assert {scene.pattern for scene in SCENES} == set(PATTERNS)
    assert {scene.magnification for scene in SCENES} == set(MAGNIFICATIONS)


@pytest.mark.parametrize("scene", SCENES[:300], ids=lambda scene: scene.pattern)
def test_facts_go_together(scene: Scene):
    assert (scene.stain == "IHC") == bool(scene.marker) == bool(scene.intensity)
    if scene.marker:
        assert scene.pattern in MARKERS[scene.marker]
    if scene.marker == "CD34":
        assert scene.vessels
    if scene.marker == "CD45":
        assert scene.lymphocytes or scene.pattern == "follicles"
    assert bool(scene.spacing) == (scene.pattern in SPACED)
    assert bool(scene.cellularity) == bool(scene.pleomorphism) == (scene.pattern in CELLULAR)
    assert not (scene.necrosis and scene.haemorrhage)
    assert not (scene.edge and scene.edge == scene.place), "the edge would cut the lesion away"
    assert EPITHELIAL < CELLULAR


def test_a_variant_is_the_same_tissue_elsewhere():
    free = {"magnification", "place", "edge", "texture"}
    for index, scene in enumerate(SCENES[:300]):
        other = variant_of(scene, 3, index + 1)
        kept = {name: value for name, value in asdict(scene).items() if name not in free}
        assert kept == {name: value for name, value in asdict(other).items() if name not in free}
        assert other.texture != scene.texture
        steps = MAGNIFICATIONS.index(other.magnification) - MAGNIFICATIONS.index(scene.magnification)
        assert abs(steps) <= 1
        assert not other.edge or other.edge != other.place


def test_the_field_shrinks_with_magnification():
    fields = {scene.magnification: scene.field_um for scene in SCENES}
    assert fields[40] == 10 * fields[400]
