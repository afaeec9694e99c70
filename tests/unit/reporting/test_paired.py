"""Randomisation tests: against every exchange of few groups, under equal models, and Holm by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from lile.evaluation.recalls import RECALLS
from lile.evaluation.relevance import DIRECTIONS
from lile.reporting import paired
from lile.reporting.group_sums import parts_of
from lile.reporting.paired import TEST_COLUMNS, group_shares, holm, paired_rows, randomisation_p
from lile.reporting.runs import ModelRuns
from lile.reporting.spec import TableSpec


def spec_of(folds: int, **more) -> TableSpec:
    return TableSpec(
        name="t", dataset="d", kind="pairs", models=("a",), **{"by": "cross_validation", **more}, folds=folds
    )


def runs_of(model: str, *folds) -> ModelRuns:
    queries = tuple(fold.queries() for fold in folds)
    return ModelRuns(model=model, metrics=(), runs=(), histories=(), queries=queries)


def rsum(fold) -> float:
    own = fold.metrics["protocols"]["own"]
    return sum(own[way][recall] for way in DIRECTIONS for recall in RECALLS)


def exchanged(first, second, groups: set[str]) -> tuple[float, float]:
    """R@sum of both models after the answers to all queries of some groups were exchanged, query by query."""
    totals = [0.0, 0.0]
    for way in DIRECTIONS:
        turned = np.isin(first.queries().groups[way], sorted(groups))
        ranks = [one.queries().ranks["own", way] for one in (first, second)]
        for place in range(2):
            mixed = np.where(turned, ranks[1 - place], ranks[place])
            totals[place] += sum(100 * np.mean(mixed < depth) for depth in (1, 5, 10))
    return totals[0], totals[1]


def test_p_is_the_share_of_all_exchanges(fold_of):
    first, second = fold_of(8, 3.0, seed=1), fold_of(8, 5.0, seed=2)
    names = sorted(set(first.queries().groups["i2t"]))
    observed = abs(rsum(first) - rsum(second))
    far = 0
    for turns in product((False, True), repeat=len(names)):
        one, other = exchanged(first, second, {name for name, turn in zip(names, turns, strict=True) if turn})
        far += abs(one - other) >= observed - 1e-9
    exact = far / 2 ** len(names)
    rows = paired_rows(spec_of(1), [runs_of("a", first), runs_of("b", second)], draws=20_000)
    row = rows[rows["metric"] == "Rsum"].iloc[0]
    assert 0.02 < exact < 0.98
    assert row["p"] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))
    assert row["difference"] == pytest.approx(rsum(first) - rsum(second))
    assert row["groups"] == 8


def test_every_two_rows_are_tested_and_corrected_within_a_statistic(fold_of):
    models = [
        runs_of(name, *(fold_of(30, rank, seed=10 * rank + fold, prefix="x" * fold) for fold in range(2)))
        for name, rank in (("a", 2), ("b", 3), ("c", 9))
    ]
    rows = paired_rows(spec_of(2), models, draws=500)
    assert tuple(rows.columns) == TEST_COLUMNS
    for (way, metric), tests in rows.groupby(["direction", "metric"], sort=False):
        assert list(zip(tests["row_a"], tests["row_b"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
        assert tests["p_holm"].tolist() == pytest.approx(holm(tests["p"].to_numpy()).tolist(), abs=3e-6)
        assert (tests["groups"] == 60).all()
        assert (way, metric) in {("both", "Rsum"), ("i2t", "R1"), ("t2i", "R1")}
    assert rows["p"].min() == pytest.approx(1 / 501, abs=1e-6)
    alone = paired_rows(spec_of(2), models[1:], draws=500)  # p depends on the two rows alone, p_holm on all pairs
    assert alone["p"].tolist() == rows.loc[(rows["row_a"] == "b"), "p"].tolist()
    assert paired_rows(spec_of(2), models[:1]).empty


def test_a_model_against_itself_does_not_differ(fold_of):
    fold = fold_of(20, 3.0, seed=1)
    rows = paired_rows(spec_of(1), [runs_of("a", fold), runs_of("b", fold)], draws=100)
    assert (rows["p"] == 1).all()
    assert (rows["difference"] == 0).all()


def test_repeated_runs_are_averaged_first(fold_of):
    runs = [fold_of(12, 3.0, seed=seed) for seed in range(3)]
    averaged = group_shares(parts_of(spec_of(3, by="split"), runs_of("a", *runs)))
    single = [group_shares(parts_of(spec_of(1), runs_of("a", run))) for run in runs]
    assert averaged == pytest.approx(np.mean(single, axis=0))
    assert averaged[:, 0].sum() == pytest.approx(np.mean([rsum(run) for run in runs]))


def test_a_group_in_two_folds_is_exchanged_in_both(fold_of):
    folds = [fold_of(10, 3.0, seed=1), fold_of(10, 6.0, seed=2)]  # the same names of groups
    shares = group_shares(parts_of(spec_of(2), runs_of("a", *folds)))
    assert len(shares) == 10
    assert shares[:, 0].sum() == pytest.approx((rsum(folds[0]) + rsum(folds[1])) / 2)


def test_p_is_uniform_where_models_are_equally_good():
    rng = np.random.default_rng(3)
    differences = rng.normal(size=(40, 500)) * rng.exponential(size=(40, 1))  # symmetric, as if exchanged
    p = randomisation_p(differences, seed=7, draws=400)
    for level in (0.05, 0.2, 0.5, 0.8):
        assert np.mean(p <= level) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 500))
    assert p.min() >= 1 / 401


def test_pieces_of_draws_change_nothing_but_memory(monkeypatch):
    differences = np.random.default_rng(1).normal(size=(64, 3)) + 0.1
    whole = randomisation_p(differences, seed=5, draws=256)
    monkeypatch.setattr(paired, "PIECE", 64 * 64)
    assert randomisation_p(differences, seed=5, draws=256).tolist() == whole.tolist()


@pytest.mark.parametrize("rows", [2, 10, 40])
def test_enough_draws_for_a_corrected_p_far_below_the_level(rows):
    pairs = rows * (rows - 1) // 2
    draws = paired.draws_for(rows)
    assert holm(np.full(pairs, 1 / (1 + draws))).max() <= paired.LEVEL / 10
    assert draws == {2: 10_000, 10: 10_000, 40: 156_000}[rows]


def test_the_example_of_the_page():
    # +-4 +-1 -+2: 3, 5, 1 and 7, each with both signs; six of the eight are at least 3 from zero.
    assert randomisation_p(np.array([4.0, 1.0, -2.0]), seed=0, draws=20_000) == pytest.approx(6 / 8, abs=0.015)


def test_holm_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04; times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04, and the last may not fall below 0.06.
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.7])).tolist() == [1.0, 1.0]
    assert holm(np.array([0.2])).tolist() == [0.2]
