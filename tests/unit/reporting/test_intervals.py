"""Bootstrap intervals: against a slow loop over the same draws, and against what is known of simulated data."""

from __future__ import annotations

import numpy as np
import pytest

from lile.errors import InputError
from lile.evaluation.recalls import RECALLS
from lile.evaluation.relevance import DIRECTIONS, PROTOCOLS
from lile.reporting import intervals
from lile.reporting.group_sums import GroupSums, parts_of
from lile.reporting.intervals import bootstrap, drawn_weights, interval_rows, percentile_interval, with_sums
from lile.reporting.queries import KEYS
from lile.reporting.runs import ModelRuns
from lile.reporting.spec import TableSpec


def spec_of(folds: int, by: str = "cross_validation", seeds: int = 1) -> TableSpec:
    return TableSpec(name="t", dataset="d", kind="pairs", models=("a",), folds=folds, by=by, seeds=seeds)


def runs_of(*folds, model: str = "a") -> ModelRuns:
    queries = tuple(fold.queries() for fold in folds)
    return ModelRuns(model=model, metrics=(), runs=(), histories=(), queries=queries)


def slow_figure(fold, weight_of: dict[str, float], key) -> float:
    """A figure of one drawn test part: every query as often as its group was drawn."""
    queries = fold.queries()
    outcomes = []
    for group, outcome in zip(queries.groups[key[1]], queries.outcomes(key), strict=True):
        outcomes += int(weight_of[str(group)]) * [outcome]
    return 100 * sum(outcomes) / len(outcomes)


def test_each_draw_is_what_a_loop_over_its_queries_gives(fold_of, monkeypatch):
    monkeypatch.setattr(intervals, "PIECE", 30)  # several pieces of draws
    folds = [fold_of(9, 4.0, seed=1, prefix="x"), fold_of(7, 2.0, seed=2, prefix="yy")]
    better = [fold_of(9, 3.0, seed=3, prefix="x"), fold_of(7, 1.0, seed=4, prefix="yy")]
    models = [parts_of(spec_of(2), runs_of(*of)) for of in (folds, better)]
    weights = [np.concatenate(list(drawn_weights(groups, 8, seed))) for groups, seed in ((9, 11), (7, 12))]
    assert all((drawn.sum(axis=1) == len(drawn[0])).all() for drawn in weights)
    assert len({tuple(row) for row in weights[0]}) > 1
    found = bootstrap(models, [11, 12], draws=8)
    for of, values in zip((folds, better), found, strict=True):
        for key in models[0][0].keys:
            for draw in range(8):
                slow = [
                    slow_figure(fold, dict(zip(part.names_G.tolist(), drawn[draw], strict=True)), key)
                    for fold, part, drawn in zip(of, models[0], weights, strict=True)
                ]
                assert values[key][draw] == pytest.approx(np.mean(slow))
        totals = with_sums(values)["own", "both", "Rsum"]
        six = [values["own", way, recall] for way in DIRECTIONS for recall in RECALLS]
        assert totals == pytest.approx(sum(six))


def test_undrawn_parts_give_the_printed_figures(fold_of):
    fold = fold_of(9, 4.0, seed=1)
    (part,) = parts_of(spec_of(1), runs_of(fold))
    for key, figure in zip(part.keys, part.shares_GC.sum(axis=0), strict=True):
        assert figure == pytest.approx(fold.metrics["protocols"][key[0]][key[1]][key[2]])


def test_runs_on_one_split_share_the_draws_and_are_averaged(fold_of):
    runs = [fold_of(9, rank, seed=rank) for rank in (2, 4, 6)]
    (shared,) = parts_of(spec_of(3, by="split"), runs_of(*runs))
    single = [parts_of(spec_of(1), runs_of(run))[0] for run in runs]
    assert shared.sums_GC == pytest.approx(np.mean([part.sums_GC for part in single], axis=0))
    each = [bootstrap([[part]], [5], draws=20)[0] for part in single]
    (together,) = bootstrap([[shared]], [5], draws=20)
    for key in shared.keys:
        assert together[key] == pytest.approx(np.mean([values[key] for values in each], axis=0))


def test_seeds_of_a_fold_are_one_part(fold_of):
    spec = spec_of(2, seeds=2)
    runs = [fold_of(9, 2.0, seed=1, prefix="x"), fold_of(7, 2.0, seed=2, prefix="yy")]
    again = [fold_of(9, 4.0, seed=3, prefix="x"), fold_of(7, 4.0, seed=4, prefix="yy")]
    parts = parts_of(spec, runs_of(*runs, *again))
    assert [len(part.names_G) for part in parts] == [9, 7]
    both = [parts_of(spec_of(2), runs_of(*of)) for of in (runs, again)]
    for number, part in enumerate(parts):
        assert part.sums_GC == pytest.approx((both[0][number].sums_GC + both[1][number].sums_GC) / 2)
    with pytest.raises(InputError, match=r"table t: runs 0 and 2 of a were tested on different i2t queries"):
        parts_of(spec, runs_of(*runs, *reversed(again)))


def test_rows_hold_every_figure_and_the_interval_holds_the_mean(fold_of):
    models = {"better": 8.0, "worse": 20.0}
    runs = [runs_of(*(fold_of(40, rank, seed=number) for number in range(2)), model=m) for m, rank in models.items()]
    rows = interval_rows(spec_of(2), runs, draws=300)
    assert len(rows) == 2 * len(PROTOCOLS) * (2 * 5 + 1)
    assert tuple(rows.columns) == intervals.INTERVAL_COLUMNS
    places = rows.set_index(["row", "protocol", "direction", "metric"]).sort_index()
    for one in runs:
        means = np.mean([part.shares_GC.sum(axis=0) for part in parts_of(spec_of(2), one)], axis=0)
        for key, mean in zip(KEYS, means, strict=True):
            low, high = places.loc[(one.model, *key)]
            assert low < mean < high
    assert rows.equals(interval_rows(spec_of(2), runs, draws=300))
    alone = interval_rows(spec_of(2), runs[1:], draws=300)  # a row's interval does not depend on the other rows
    assert alone["low"].tolist() == pytest.approx(rows.loc[rows["row"] == "worse", "low"].tolist())


def test_models_with_other_queries_are_refused(fold_of):
    with pytest.raises(InputError, match=r"table t: runs 0 of a and b were tested on different"):
        interval_rows(spec_of(1), [runs_of(fold_of(9, 2.0, seed=1)), runs_of(fold_of(8, 2.0, seed=1), model="b")])


def test_one_group_has_no_interval(fold_of):
    assert interval_rows(spec_of(1), [runs_of(fold_of(1, 2.0, seed=1))]).empty


def simulated_part(rng: np.random.Generator, groups: int) -> tuple[GroupSums, float]:
    """Groups of two to six queries with a chance of their own, uniform: the true share is one half."""
    sizes = rng.integers(2, 7, size=groups)
    hits = rng.binomial(sizes, rng.random(groups))
    counts = np.stack([sizes, sizes], axis=1).astype(float)
    part = GroupSums(
        names_G=np.arange(groups).astype(str),
        keys=(("own", "i2t", "R1"),),
        sums_GC=hits[:, None] * 1.0,
        counts_GW=counts,
    )
    queries = int(sizes.sum())
    share = hits.sum() / queries
    return part, 196 * np.sqrt(share * (1 - share) / queries)  # half an interval of independent queries, in percent


def test_95_of_100_intervals_hold_the_truth_because_groups_are_drawn():
    rng = np.random.default_rng(0)
    held = naive = 0
    for seed in range(400):
        part, half = simulated_part(rng, groups=60)
        (values,) = bootstrap([[part]], [seed], draws=300)
        low, high = percentile_interval(values["own", "i2t", "R1"])
        held += low <= 50 <= high
        naive += abs(part.shares_GC.sum() - 50) <= half
    assert 0.91 <= held / 400 <= 0.98
    assert naive / 400 < 0.87  # queries taken as independent promise too much


def test_memory_does_not_grow_with_the_draws():
    pieces = list(drawn_weights(25_000, 400, seed=1))
    assert sum(map(len, pieces)) == 400
    assert max(piece.nbytes for piece in pieces) <= 8 * intervals.PIECE
