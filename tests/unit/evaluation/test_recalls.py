"""Recalls by hand, chance by counting every list, and the controls: perfect, constant and random scorers."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from full_matrix import first_hit_ranks

from lile.evaluation.recalls import chance_of, figures_of, first_hit_distribution, recall_sum


def test_figures_by_hand():
    figures = metrics_of(np.array([0, 4, 5, 12]), np.array([1, 1, 1, 1]), gallery=20)
    assert (figures["R1"], figures["R5"], figures["R10"]) == (25.0, 50.0, 75.0)
    assert figures["MedR"] == 5.5  # ranks 1, 5, 6, 13
    assert figures["MeanR"] == 6.25
    assert figures["chance"]["R1"] == pytest.approx(5.0)
    assert figures["chance"]["R10"] == pytest.approx(50.0)
    assert figures["chance"]["MedR"] == 10.0
    assert figures["chance"]["MeanR"] == pytest.approx(10.5)


def test_chance_equals_the_count_over_every_possible_list():
    gallery = 6
    for relevant in range(1, gallery + 1):
        firsts = [min(order.index(item) for item in range(relevant)) for order in permutations(range(gallery))]
        counted = [np.mean([first < depth for first in firsts]) for depth in range(1, gallery + 1)]
        assert first_hit_distribution(np.array([relevant]), gallery) == pytest.approx(counted, abs=1e-12)
        assert chance_of(np.array([relevant]), gallery)["MeanR"] == pytest.approx(np.mean(firsts) + 1)


def test_chance_is_averaged_over_queries():
    mixed = first_hit_distribution(np.array([1, 3, 3]), 8)
    one, three = (first_hit_distribution(np.array([relevant]), 8) for relevant in (1, 3))
    assert mixed == pytest.approx((one + 2 * three) / 3)


def test_chance_in_a_large_gallery_stays_exact_and_finite():
    levels = chance_of(np.full(1000, 5), 25_000)
    assert levels["R1"] == pytest.approx(100 * 5 / 25_000)
    assert levels["R10"] == pytest.approx(0.19984, abs=1e-4)


def test_a_gallery_shorter_than_ten_is_found_whole():
    assert chance_of(np.array([1]), 4)["R10"] == 100.0
    assert metrics_of(np.array([3]), np.array([1]), 4)["R5"] == 100.0


@pytest.mark.parametrize("counts", [[], [0, 1], [5]])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="needs 1 to 4 relevant items"):
        first_hit_distribution(np.array(counts, dtype=int), 4)


def test_recall_sum_is_the_sum_of_six():
    i2t = {"R1": 44.8, "R5": 57.4, "R10": 64.4, "MedR": 3.0}
    t2i = {"R1": 36.7, "R5": 52.2, "R10": 61.7, "MedR": 5.0}
    assert recall_sum(i2t, t2i) == pytest.approx(317.2)


def metrics_of(ranks, relevant, gallery):
    return {**figures_of(ranks), "chance": chance_of(relevant, gallery)}


def related(queries: int, gallery: int) -> np.ndarray:
    """Query q is related to one, two or three items."""
    relevant = np.zeros((queries, gallery), dtype=bool)
    for query in range(queries):
        relevant[query, [(query * 7 + step) % gallery for step in range(1 + query % 3)]] = True
    return relevant


def test_control_a_perfect_scorer_earns_everything():
    relevant = related(30, 40)
    figures = metrics_of(first_hit_ranks(relevant.astype(np.float32), relevant), relevant.sum(axis=1), 40)
    assert (figures["R1"], figures["MedR"], figures["MeanR"]) == (100.0, 1.0, 1.0)


def test_control_a_constant_scorer_earns_nothing():
    relevant = related(30, 40)
    figures = metrics_of(first_hit_ranks(np.zeros((30, 40)), relevant), relevant.sum(axis=1), 40)
    assert (figures["R1"], figures["R5"], figures["R10"]) == (0.0, 0.0, 0.0)
    assert figures["chance"]["R10"] > 25.0


def test_control_a_random_scorer_equals_chance_within_sampling_error():
    relevant = np.tile(related(30, 40), (200, 1))
    scores = np.random.default_rng(7).random(relevant.shape)
    figures = metrics_of(first_hit_ranks(scores, relevant), relevant.sum(axis=1), 40)
    for name in ("R1", "R5", "R10"):
        level = figures["chance"][name] / 100
        error = 100 * np.sqrt(level * (1 - level) / len(relevant))
        assert abs(figures[name] - 100 * level) < 4 * error
    assert figures["MeanR"] == pytest.approx(figures["chance"]["MeanR"], rel=0.03)
    assert abs(figures["MedR"] - figures["chance"]["MedR"]) <= 1.0
