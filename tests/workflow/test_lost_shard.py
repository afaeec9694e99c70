"""A shard that is lost or cut short is made again alone, and a job of tokens goes on where a killed one stopped."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml

from lile.checks.stores import check_stores

SHARDS = [f"results/demo/features/tiny_vit/shard-{shard}.h5" for shard in range(3)]
CONFIGS = ["--configfile", "three.yaml"]


@pytest.fixture(scope="module")
def finished(project):
    block = {"datasets": {"demo": {"shards": 3, "folds": {"count": 2}}}}
    (project.root / "three.yaml").write_text(yaml.safe_dump(block), encoding="utf-8")
    project.finish(SHARDS, *CONFIGS)
    return project


def outputs(jobs: list[tuple[str, str]]) -> list[str]:
    return [re.findall(r"^    output: (.*)$", body, re.MULTILINE)[0] for _, body in jobs]


def test_nothing_is_planned_while_all_shards_are_there(finished):
    assert finished.jobs(SHARDS, *CONFIGS) == []


def test_a_lost_shard_is_planned_alone(finished):
    lost = finished.root / SHARDS[1]
    content = lost.read_bytes()
    lost.unlink()
    try:
        assert outputs(finished.jobs(SHARDS, *CONFIGS)) == [SHARDS[1]]
    finally:
        lost.write_bytes(content)
        finished.snakemake("--touch", *CONFIGS, "--", *SHARDS)


def test_a_shard_cut_short_is_named_with_a_command_that_plans_it_alone(finished):
    """The check runs on real shards; what it says is then done to the planned project."""
    config = {"datasets": {"demo": {"shards": 3}}, "encoders": {"tiny_vit": {}}}
    for name in SHARDS:  # the plan's own stand-ins are no HDF5 files: all three are damaged
        assert (finished.root / name).is_file()
    fixes = [check.fix for check in check_stores(config, "demo", finished.root)]
    assert len(fixes) == 3
    remove, _, make = fixes[2].removeprefix("make this shard again, with your --configfile: ").partition(" && ")
    assert shlex.split(remove) == ["rm", SHARDS[2]]
    assert shlex.split(make) == ["snakemake", "--cores", "all", SHARDS[2]]
    lost = finished.root / SHARDS[2]
    content = lost.read_bytes()
    lost.unlink()
    try:
        assert outputs(finished.jobs([SHARDS[2]], *CONFIGS)) == [SHARDS[2]]
    finally:
        lost.write_bytes(content)


def test_the_folder_of_a_killed_job_is_named_by_config_and_code(finished):
    """Another config or other code never goes on from these segments; the size of a batch changes neither."""

    def folders(*words: str) -> set[str]:
        _, said = finished.snakemake("--dry-run", "--forceall", "-p", *words, "--", *SHARDS)
        return set(re.findall(r"--progress (work/tokens/\S+)", said))

    three = folders(*CONFIGS)
    assert len(three) == 3
    assert {folder.split("/")[2] for folder in three} == {f"demo.tiny_vit.{shard}" for shard in range(3)}
    (finished.root / "batch.yaml").write_text("encoders: {tiny_vit: {batch_size: 5}}\n", encoding="utf-8")
    (finished.root / "other.yaml").write_text("encoders: {tiny_vit: {trainable_blocks: 3}}\n", encoding="utf-8")
    assert folders(*CONFIGS, "batch.yaml") == three
    assert not folders(*CONFIGS, "other.yaml") & three
    with finished.edited("src/lile/features/extract.py", "_TEXTS_AT_ONCE = 1024", "_TEXTS_AT_ONCE = 1023"):
        assert not folders(*CONFIGS) & three
