"""The union of both directions' shortlists, and final scores that reorder it and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from lile.cross.shortlist import Reranked, places_of, shortlist_pairs
from lile.evaluation import grid
from lile.evaluation.grid import Matrix

SCORES = np.array([[0.9, 0.1, 0.5, 0.4], [0.8, 0.7, -0.2, 0.3], [0.6, 0.65, 0.2, -0.1]], dtype=np.float32)


@pytest.fixture(params=[1, 2, 1024])
def blocks(request, monkeypatch):
    monkeypatch.setattr(grid, "BLOCK", request.param)


def whole(scores) -> np.ndarray:
    out = np.empty((scores.grid.images, scores.grid.texts))
    for block in scores.grid:
        out[block.rows, block.columns] = scores.read(block)
    return out


def test_the_union_of_both_directions_by_hand(blocks):
    # Best text of each image: 0, 0, 1. Best image of each text: 0, 1, 0, 0.
    expected = [[0, 0], [0, 2], [0, 3], [1, 0], [1, 1], [2, 1]]
    assert shortlist_pairs(Matrix(SCORES), 1).tolist() == expected
    assert len(shortlist_pairs(Matrix(SCORES), 9)) == SCORES.size


def test_the_union_against_a_slow_twin(blocks):
    random = np.random.default_rng(0)
    scores = random.integers(0, 4, (7, 11)).astype(np.float32)  # many ties: the lower place comes first
    for top in (1, 2, 5):
        rows = {(i, u) for i in range(7) for u in sorted(range(11), key=lambda u: (-scores[i, u], u))[:top]}
        columns = {(i, u) for u in range(11) for i in sorted(range(7), key=lambda i: (-scores[i, u], i))[:top]}
        assert shortlist_pairs(Matrix(scores), top).tolist() == sorted(map(list, rows | columns))


def test_final_scores_by_hand(blocks):
    pairs = shortlist_pairs(Matrix(SCORES), 1)
    logits = np.array([-3, 2, 0, 30, 31, -1], dtype=np.float32)
    final = whole(Reranked(Matrix(SCORES), pairs, logits))
    scored_again = np.zeros(SCORES.shape, dtype=bool)
    scored_again[tuple(pairs.T)] = True
    assert final[scored_again].min() > 1 > final[~scored_again].max() > final.min() > 0
    assert final.max() < 2
    order = [tuple(pair) for pair in pairs[np.argsort(-logits)]]
    assert sorted(order, key=lambda pair: -final[pair]) == order == [(1, 1), (1, 0), (0, 2), (0, 3), (2, 1), (0, 0)]
    rest = np.argwhere(~scored_again).tolist()
    assert sorted(rest, key=lambda p: -final[tuple(p)]) == sorted(rest, key=lambda p: -SCORES[tuple(p)])


def test_confident_logits_are_not_tied():
    """Their sigmoids are: in float32 from 17 on, in float64 from 37 on."""
    logits = np.array([17, np.nextafter(np.float32(17), np.float32(18)), 40, 41, 500], dtype=np.float32)
    assert (np.diff(places_of(logits)) > 0).all()
    assert (1 / (1 + np.exp(-logits[2:].astype(np.float64))) == 1).all()


def test_places_are_strictly_monotone_and_make_no_tie():
    tiny = np.float32(1e-45)
    edge = np.array([-np.finfo(np.float32).max, -2, -1, -tiny, -0.0, 0.0, tiny, 1e-30, 0.5, 1, 2, 1e30], np.float32)
    near = np.nextafter(edge, np.float32(np.inf))
    values = np.unique(np.concatenate([edge, near, np.random.default_rng(0).normal(size=1000).astype(np.float32)]))
    places = places_of(values)
    assert (np.diff(places) > 0).all()
    assert places[0] > 0
    assert places[-1] < 1
    assert places_of(np.float32([-0.0])) == places_of(np.float32([0.0])) == 0.5 + 0.5 / 2**32
