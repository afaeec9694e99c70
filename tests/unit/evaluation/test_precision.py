"""Precisions by hand, against whole lists sorted the plain way, and chance by counting every list."""

from __future__ import annotations

import time
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from full_matrix import full_precisions, precisions

from lile.evaluation import grid, lists
from lile.evaluation.grid import Matrix
from lile.evaluation.lists import query_lists
from lile.evaluation.precision import fold_precisions, precision_chance, precision_figures, right_places
from lile.evaluation.ranks import fold_ranks
from lile.evaluation.relevance import relevance_of


def fold_of(seed, images=40, texts=60, more=80, levels=6, groups=12):
    """A fold with many ties, shared texts and shared groups; some texts stand under no image."""
    draw = np.random.default_rng(seed)
    image_ids, text_ids = [f"i{n}" for n in range(images)], [f"t{n}" for n in range(texts)]
    owners = np.r_[np.arange(images), draw.integers(0, images, more)]
    words = draw.integers(0, texts - 5, len(owners))
    descriptions = pd.DataFrame({"image_id": [f"i{n}" for n in owners], "text_id": [f"t{n}" for n in words]})
    names = [f"g{n}" for n in draw.integers(0, groups, images)]
    scores = draw.integers(-levels, levels, (images, texts)).astype(np.float32) / levels
    return scores, image_ids, text_ids, names, descriptions


def test_by_hand():
    #            place: 1    2    3    4    5; the tie of two at 0.5 puts the wrong one first
    scores_G = np.array([0.9, 0.5, 0.5, 0.3, 0.1])
    places = right_places(np.sort(scores_G), scores_G[[3, 0, 2]])
    assert places.tolist() == [1, 3, 4]
    average, at_r = precisions(scores_G[None], np.array([[True, False, True, True, False]]))
    assert average[0] == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)
    assert at_r[0] == pytest.approx(2 / 3)


@pytest.mark.parametrize("size", [7, 16, 1024])
@pytest.mark.parametrize("pairs", [1, 500, 1 << 22])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_they_equal_whole_lists_sorted_whatever_the_block_and_batch(monkeypatch, size, pairs, kind):
    monkeypatch.setattr(grid, "BLOCK", size)
    monkeypatch.setattr(lists, "LIST_PAIRS", pairs)
    for seed in range(3):
        scores, *rest = fold_of(seed, levels=2 + 3 * seed)
        scores = scores.astype(kind)
        found = fold_precisions(Matrix(scores), relevance_of(*rest))
        for ours, expected in zip(found, full_precisions(scores, *rest), strict=True):
            for name, ways in expected.items():
                for way, values in ways.items():
                    np.testing.assert_allclose(ours[name][way], values, rtol=1e-12, err_msg=f"{name} {way}")


def test_with_one_relevant_item_they_are_the_rank():
    scores, *rest = fold_of(1)
    average, at_r = fold_precisions(Matrix(scores), relevance_of(*rest))
    ranks = fold_ranks(scores, *rest)["own"]["t2i"]
    np.testing.assert_allclose(average["own"]["t2i"], 1 / (ranks + 1))
    np.testing.assert_array_equal(at_r["own"]["t2i"], ranks == 0)


@pytest.mark.parametrize("pairs", [1, 300, 1 << 22])
def test_each_list_comes_once_and_whole(monkeypatch, pairs):
    monkeypatch.setattr(grid, "BLOCK", 16)
    monkeypatch.setattr(lists, "LIST_PAIRS", pairs)
    scores, *rest = fold_of(2)
    relevance = relevance_of(*rest)
    scores_ND = scores[:, relevance.column_D]
    for way, expected in (("i2t", scores_ND), ("t2i", scores_ND.T)):
        batches = list(query_lists(Matrix(scores), relevance, way))
        queries = np.concatenate([queries for queries, _ in batches])
        assert sorted(queries) == list(range(len(expected)))
        np.testing.assert_array_equal(np.concatenate([found for _, found in batches]), expected[queries])
        assert all(found.size <= max(pairs, expected.shape[1]) for _, found in batches)


@pytest.mark.parametrize("gallery", [1, 2, 3, 6, 9])
def test_chance_equals_the_count_over_every_possible_list(gallery):
    for relevant in range(1, gallery + 1):
        flags = np.array([np.isin(range(gallery), at) for at in combinations(range(gallery), relevant)])
        average, at_r = precisions(np.tile(-np.arange(gallery), (len(flags), 1)), flags)
        expected = precision_figures(average, at_r)
        assert precision_chance(np.array([relevant]), gallery) == pytest.approx(expected)


def test_chance_is_averaged_over_queries():
    one, four = (precision_chance(np.array([relevant]), 9) for relevant in (1, 4))
    both = precision_chance(np.array([1, 4, 4]), 9)
    assert both == pytest.approx({name: (one[name] + 2 * four[name]) / 3 for name in one})


def test_a_perfect_scorer_earns_everything_and_a_constant_one_stands_below_chance():
    _, *rest = fold_of(3)
    relevance = relevance_of(*rest)
    texts = pd.Series(range(len(relevance.column_D))).astype(str)
    alone = relevance_of(rest[0], texts.tolist(), rest[2], rest[3].assign(text_id=texts))
    perfect = (alone.image_codes["group"][:, None] == alone.description_codes["group"]).astype(np.float32)
    for found in fold_precisions(Matrix(perfect), alone):
        assert all((values == 1).all() for values in found["group"].values())
    average, _ = fold_precisions(Matrix(np.zeros_like(perfect)), alone)
    level = precision_chance(np.bincount(relevance.description_codes["own"]), len(texts))
    assert precision_figures(average["own"]["i2t"], average["own"]["i2t"])["mAP"] < level["mAP"]


@pytest.mark.slow
def test_flickr8k_takes_a_second():
    scores, *rest = fold_of(0, images=1000, texts=5000, more=4000, groups=400)
    relevance = relevance_of(*rest)
    start = time.process_time()
    fold_precisions(Matrix(scores), relevance)
    assert time.process_time() - start < 5.0  # half a second where this was written
