"""What a run's queries got: read as written, and refused where the file does not fit its figures."""

from __future__ import annotations

import numpy as np
import pytest

from lile.errors import InputError
from lile.evaluation.metrics import write_ranks
from lile.reporting.queries import check_same_queries, read_queries


@pytest.fixture
def fold(fold_of):
    return fold_of(groups=6, mean_rank=4.0, seed=1)


def read(tmp_path, arrays, metrics):
    write_ranks(tmp_path / "ranks.npz", arrays)
    return read_queries(tmp_path / "ranks.npz", metrics)


def test_each_query_has_its_id_group_rank_and_hits(tmp_path, fold):
    queries = read(tmp_path, fold.arrays, fold.metrics)
    for name in ("own", "group"):
        for way in ("i2t", "t2i"):
            ranks = fold.arrays[f"{name}_{way}"]
            assert queries.ranks[name, way].tolist() == ranks.tolist()
            for depth in (1, 5, 10):
                assert queries.outcomes((name, way, f"R{depth}")).tolist() == [float(rank < depth) for rank in ranks]
            assert queries.outcomes((name, way, "mAP")).tolist() == fold.arrays[f"{name}_{way}_ap"].tolist()
            for metric in ("R1", "R5", "R10", "mAP", "Rprec"):
                mean = 100 * queries.outcomes((name, way, metric)).mean()
                assert mean == pytest.approx(fold.metrics["protocols"][name][way][metric])
    assert queries.ids["t2i"].tolist() == fold.arrays["description_ids"].tolist()
    owners = fold.arrays["description_image"]
    assert queries.groups["t2i"].tolist() == [fold.arrays["image_groups"][owner] for owner in owners]


@pytest.mark.parametrize("missing", ["image_groups", "description_image", "own_t2i_ap"])
def test_files_of_older_versions_say_to_evaluate_again(tmp_path, fold, missing):
    arrays = {name: values for name, values in fold.arrays.items() if name != missing}
    with pytest.raises(InputError, match=rf"ranks.npz: lacks {missing}: .* Evaluate this fold again"):
        read(tmp_path, arrays, fold.metrics)


def test_ranks_of_another_evaluation_are_refused(tmp_path, fold):
    arrays = dict(fold.arrays)
    ranks = arrays["own_t2i"] = arrays["own_t2i"].copy()
    place = int(np.argmax(ranks == 0))
    ranks[place] = 100
    with pytest.raises(InputError, match=r"own t2i R1 is \d+.*, but metrics.json beside it says"):
        read(tmp_path, arrays, fold.metrics)
    ranks[place] = 0
    ranks[int(np.argmax(ranks))] += 1  # no recall changes by it
    with pytest.raises(InputError, match=r"own t2i MeanR"):
        read(tmp_path, arrays, fold.metrics)


BROKEN = [
    ("image_groups", lambda values: values[:-1], "do not fit together"),
    ("description_image", lambda values: values + 1, "rows that image_ids has not"),
    ("description_image", lambda values: values.astype(float), "rows that image_ids has not"),
    ("group_i2t", lambda values: values[:-1], r"group_i2t has shape \(\d+,\) for"),
    ("own_t2i_ap", lambda values: values[1:], "own_t2i_mAP has shape"),
]


@pytest.mark.parametrize(("name", "change", "message"), BROKEN)
def test_arrays_that_do_not_fit_are_refused(tmp_path, fold, name, change, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, {**fold.arrays, name: change(fold.arrays[name])}, fold.metrics)


def test_damaged_and_missing_files_are_named(tmp_path, fold):
    with pytest.raises(InputError, match=r"ranks.npz: no such file"):
        read_queries(tmp_path / "ranks.npz", fold.metrics)
    write_ranks(tmp_path / "ranks.npz", fold.arrays)
    whole = (tmp_path / "ranks.npz").read_bytes()
    for part in (b"", b"no archive", whole[: len(whole) // 2]):
        (tmp_path / "ranks.npz").write_bytes(part)
        with pytest.raises(InputError, match=r"ranks.npz: not a readable .npz"):
            read_queries(tmp_path / "ranks.npz", fold.metrics)


def test_the_same_queries_may_stand_in_another_order(tmp_path, fold):
    first = fold.queries()
    turned = {way: first.ids[way][::-1] for way in first.ids}, {way: first.groups[way][::-1] for way in first.groups}
    second = type(first)(ids=turned[0], groups=turned[1], ranks={}, precisions={})
    check_same_queries(first, second, "runs 0 and 1")
    other = {**turned[1], "t2i": np.where(turned[0]["t2i"] == "d3", "g77", turned[1]["t2i"])}
    third = type(first)(ids=turned[0], groups=other, ranks={}, precisions={})
    with pytest.raises(InputError, match=r"runs 0 and 1 were tested on different t2i queries, for instance 'd3'"):
        check_same_queries(first, third, "runs 0 and 1")
