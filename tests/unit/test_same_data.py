"""A dataset with another's data: it takes that one's keys, and says for itself only how it is divided and evaluated."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from lile import lists, stage_files, stages
from lile.config import load, prepare
from lile.errors import InputError

ENCODERS = {
    "see": {"modality": "image", "weights": "random", "config": "some/folder"},
    "read": {"modality": "text", "weights": "random", "config": "some/folder"},
}


def config_of(**second: Any) -> dict[str, Any]:
    """A dataset ``first``, and one with its data whose other keys are given."""
    first = {
        "kind": "pairs",
        "file": "own.csv",
        "columns": {"group": "figure"},
        "encoders": {"image": "see", "text": "read"},
        "shards": 2,
        "folds": {"count": 3, "seeds": 2},
        "evaluation": {"jobs": 4},
    }
    datasets = {"first": first, "plain": {"same_data_as": "first", **second}}
    return {"datasets": datasets, "encoders": ENCODERS, "models": {"small": {}}}


def test_all_but_folds_and_evaluation_is_taken_over():
    raw = config_of(folds={"group_by": "image"})
    before = deepcopy(raw)
    config = prepare(raw)
    assert raw == before
    first, plain = config["datasets"]["first"], config["datasets"]["plain"]
    assert {key: value for key, value in plain.items() if value != first[key]} == {
        "same_data_as": "first",
        "folds": first["folds"] | {"group_by": "image"},
    }
    assert plain["folds"]["count"] == 3, "what it leaves out of the folds is the other's, too"
    assert prepare(config) == config


def test_the_check_of_the_data_looks_at_the_rows_of_both_and_at_what_they_stand_on():
    raw = config_of()
    raw["models"] |= {
        "other": {"width": 8},
        "mean": {"kind": "ensemble", "members": ["small", "other"]},
        "cross": {"kind": "cross_encoder", "shortlist": {"model": "mean"}, "weights": "some/bert"},
        "elsewhere": {},
    }
    raw["tables"] = {"plain": {"dataset": "plain", "models": ["cross"]}}
    about = json.loads(stages.slice_for("check", prepare(raw), dataset="first"))["config"]
    assert about["tables"]["plain"]["dataset"] == "first"
    assert set(about["models"]) == {"cross", "mean", "small", "other"}


def test_files_are_those_of_the_other_and_folds_are_its_own():
    config = prepare(config_of(folds={"count": 4, "seeds": 1}))
    assert lists.data_of(config, "plain") == lists.data_of(config, "first") == "first"
    assert stage_files.stores_of(config, "plain", "small", "image") == stage_files.stores_of(
        config, "first", "small", "image"
    )
    assert stage_files.stores_of(config, "plain", "small", "text")[1] == "results/first/features/read/shard-1.h5"
    assert lists.folds_of(config, "plain") == list(range(4))
    assert lists.datasets_of(config, "pairs") == ["first"], "nothing is read for the other"
    assert stages.slice_for("make_folds", config, dataset="plain") != stages.slice_for(
        "make_folds", config, dataset="first"
    )


def test_a_download_is_the_others(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("datasets: {plain: {same_data_as: arch, folds: {group_by: image}}}\n")
    config = load([path])
    assert config["datasets"]["plain"]["root"] == "resources/arch"
    assert lists.downloaded(config) == ["arch", "coco"]
    assert prepare(config) == config


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (
            {"same_data_as": "frist"},
            ["same_data_as: frist is not among datasets", "did you mean first?"],
        ),
        ({"same_data_as": "plain"}, ["it names itself"]),
        ({"shards": 4}, ["datasets.plain.shards: differs from datasets.first.shards", "only folds and evaluation"]),
        ({"columns": {"group": None}}, ["datasets.plain.columns: differs"]),
        ({"limit": 9}, ["datasets.plain.limit: differs", "a dataset of its own"]),
        ({"same_data_as": 3}, ["same_data_as"]),
    ],
)
def test_mistakes_are_named(second: dict[str, Any], words: list[str]):
    with pytest.raises(InputError) as caught:
        prepare(config_of(**second))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_chain_is_refused():
    config = config_of()
    config["datasets"]["third"] = {"same_data_as": "plain"}
    with pytest.raises(InputError, match="plain has itself the same data as first; name first"):
        prepare(config)


def test_keys_that_agree_may_be_repeated():
    assert prepare(config_of(kind="pairs", shards=2))["datasets"]["plain"]["shards"] == 2
