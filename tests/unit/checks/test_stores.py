"""Stores that are there: whole ones pass, damaged ones are named with the command that makes that shard again."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from lile.checks.stores import check_stores
from lile.features.shard_writer import write_store


@pytest.fixture
def three(tmp_path):
    for shard in range(3):
        path = tmp_path / "results" / "own" / "features" / "vit" / f"shard-{shard}.h5"
        write_store(path, [(f"{shard}.{k}", np.ones((2, 4))) for k in range(5)], {})
    return {"datasets": {"own": {"shards": 3}}, "encoders": {"vit": {}, "roberta": {}}}


def found(config, root, **how):
    return [(check.status, check.found, check.fix) for check in check_stores(config, "own", root, **how)]


def test_whole_stores_pass_and_missing_ones_are_no_finding(three, tmp_path):
    assert found(three, tmp_path) == [("PASS", "3 of 3 shards are there, the indexes are as written", "")]
    (tmp_path / "results/own/features/vit/shard-1.h5").unlink()
    assert found(three, tmp_path, every_item=True) == [
        ("PASS", "2 of 3 shards are there, every item is as written", "")
    ]


def test_a_shard_that_was_cut_short_is_named_with_its_command(three, tmp_path):
    name = "results/own/features/vit/shard-1.h5"
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    [(status, said, fix)] = found(three, tmp_path)
    assert status == "FAIL"
    assert f"{tmp_path / name}: cut off" in said
    assert fix == f"make this shard again, with your --configfile: rm {name} && snakemake --cores all {name}"


def test_a_changed_token_is_found_where_every_item_is_looked_at(three, tmp_path):
    path = tmp_path / "results" / "own" / "features" / "vit" / "shard-2.h5"
    with h5py.File(path, "r+") as file:
        file["tokens"][3, 1] = 2
    assert [status for status, *_ in found(three, tmp_path)] == ["PASS"]
    [(status, said, fix)] = found(three, tmp_path, every_item=True)
    assert status == "FAIL"
    assert "the tokens of '2.1' are not as written" in said
    assert "shard-2.h5" in fix


def test_a_dataset_with_anothers_data_has_its_stores_there(three, tmp_path):
    three["datasets"]["twin"] = {"shards": 3, "same_data_as": "own"}
    assert [check.status for check in check_stores(three, "twin", tmp_path)] == ["PASS"]
