"""Slices of the config: every stage gets what it reads, and nothing that would run it again for no reason."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from lile import lists, stage_files, stages
from lile.config import ROOT, load
from lile.reporting.spec import TableSpec

WILDCARDS = {
    "demo": {"dataset": "demo", "model": "lile_demo", "fold": "1", "table": "demo", "archive": "books_set"},
    "arch": {"dataset": "arch", "model": "lile_paper", "fold": "1", "table": "arch", "archive": "books_set"},
    "medpix": {"dataset": "medpix", "model": "lile_small", "fold": "0", "table": "medpix"},
    "coco": {"dataset": "coco", "model": "lile_paper", "fold": "0", "table": "coco", "archive": "val2014"},
}
ENCODER = {"demo": "tiny_vit", "arch": "deit_base", "medpix": "minilm", "coco": "roberta_base"}
RECORDS = {"check", "describe", "duplicates", "make_folds", "leaks", "tokens", "tokens_job"}
STAGES_OF = {
    "demo": {*RECORDS, "read_synthetic", "train", "evaluate"},
    "arch": {*RECORDS, "download_archive", "unpack_archive", "read_arch"},
    "medpix": {*RECORDS, "read_pairs", "train", "evaluate"},
    "coco": {*RECORDS, "download_archive", "unpack_archive", "read_coco"},
}
TAIL = {"train", "evaluate", "track", "table"}


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return load([ROOT / "config/trial" / f"{name}.yaml" for name in ("rows", "medpix", "flickr8k", "flickr8k_coco")])


def slices(config: dict[str, Any], name: str) -> dict[str, str]:
    wildcards = WILDCARDS[name] | {"encoder": ENCODER[name]}
    return {stage: stages.slice_for(stage, config, **wildcards) for stage in STAGES_OF[name] | TAIL}


def put(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    config = deepcopy(config)
    *above, last = path.split(".")
    block = config
    for key in above:
        block = block[key]
    assert block[last] != value
    block[last] = value
    return config


@pytest.mark.parametrize(
    ("name", "path", "value", "stages_changed"),
    [
        ("demo", "seed", 7, {"read_synthetic", "make_folds", "tokens", "tokens_job", "train", "evaluate"}),
        ("medpix", "seed", 7, {"make_folds", "train", "evaluate"}),
        ("demo", "datasets.demo.items", 50, {"read_synthetic"}),
        ("demo", "datasets.demo.evaluation.jobs", 4, set()),
        ("demo", "datasets.demo.descriptions", "whole", {"describe"}),
        ("demo", "datasets.demo.folds.count", 3, {"make_folds", "track", "table"}),
        ("demo", "datasets.demo.folds.seeds", 2, {"make_folds", "track", "table"}),
        ("demo", "datasets.demo.folds.near_duplicates", "together", {"make_folds"}),
        ("demo", "datasets.demo.near_duplicate_bits", 8, {"duplicates", "leaks"}),
        ("demo", "datasets.demo.folds.validation", 0.2, {"make_folds"}),
        ("medpix", "datasets.medpix.file", "x.csv", {"read_pairs"}),
        ("medpix", "datasets.medpix.columns.id", "image", {"read_pairs"}),
        ("medpix", "datasets.medpix.limit", 9, {"read_pairs"}),
        ("medpix", "datasets.medpix.drop_captions", ["x"], {"read_pairs"}),
        ("arch", "datasets.arch.archives.books_set.sha256", "0" * 64, {"download_archive"}),
        ("arch", "datasets.arch.archives.pubmed_set.sha256", "0" * 64, set()),
        ("arch", "datasets.arch.verify", "header", {"read_arch"}),
        ("arch", "datasets.arch.keep_archives", False, set()),
        ("coco", "datasets.coco.archives.val2014.sha256", "0" * 64, {"download_archive"}),
        ("coco", "datasets.coco.archives.split.size", 1, set()),
        ("coco", "datasets.coco.keep_archives", True, set()),
        ("coco", "datasets.coco.captions_per_image", 1, {"read_coco"}),
        ("coco", "datasets.coco.split_file", "x.json", {"read_coco"}),
        ("coco", "datasets.coco.images", "x", {"read_coco"}),
        ("coco", "datasets.coco.limit", 9, {"read_coco"}),
        ("demo", "datasets.arch.verify", "header", set()),
        ("demo", "encoders.tiny_vit.trainable_blocks", 3, {"tokens", "tokens_job", "train", "evaluate"}),
        ("demo", "encoders.tiny_vit.batch_size", 1, {"tokens_job"}),
        ("medpix", "encoders.mobilenet.convert_from", "x.npz", set()),
        ("demo", "encoders.deit_base.trainable_blocks", 3, set()),
        ("demo", "models.lile_demo.loss.margin", 0.3, {"train", "evaluate"}),
        ("demo", "models.lile_paper.loss.margin", 0.3, set()),
        ("arch", "tables.arch.published", None, {"table"}),
        ("demo", "tables.arch.published", None, set()),
        ("demo", "tracking.uri", "sqlite:///x.db", {"track"}),
    ],
)
def test_a_key_is_in_exactly_these_slices(config, name, path, value, stages_changed):
    before, after = slices(config, name), slices(put(config, path, value), name)
    found = {stage for stage in before if before[stage] != after[stage]} - {"check"}
    assert found == stages_changed


def test_a_slice_is_one_line_of_json_in_a_fixed_order(config):
    backwards = {key: config[key] for key in reversed(list(config))}
    for stage, text in slices(config, "demo").items():
        assert json.loads(text), stage
        assert "\n" not in text
        assert stages.slice_for(stage, backwards, **WILDCARDS["demo"], encoder="tiny_vit") == text


def test_what_a_training_is_told(config):
    told = json.loads(stages.slice_for("train", config, dataset="demo", model="lile_demo", fold="2"))
    assert set(told) == {"dataset", "model", "fold", "seed", "model_config", "encoders"}
    assert told["fold"] == 2
    assert told["encoders"]["image"]["config"] == config["encoders"]["tiny_vit"]["config"]
    block = config["models"]["lile_demo"]
    assert told["model_config"] == {name: block[name] for name in block if name not in ("kind", "encoders")}


def test_an_unknown_stage_or_missing_wildcard_is_an_error(config):
    with pytest.raises(KeyError):
        stages.slice_for("no_such_stage", config)
    with pytest.raises(KeyError):
        stages.slice_for("train", config, dataset="demo")


@pytest.mark.parametrize(("table", "name"), [("arch", "arch"), ("arch_plain", "arch"), ("coco", "coco")])
def test_a_table_knows_its_data_by_the_name_that_published_figures_have(config, table, name):
    spec = TableSpec.from_config(json.loads(stages.slice_for("table", config, table=table)))
    assert name in spec.data_names


def test_lists(config):
    assert lists.datasets_of(config, "pairs") == ["flickr8k", "medpix"]
    assert lists.datasets_of(config, "coco") == ["coco", "flickr8k_coco"]
    assert lists.downloaded(config) == ["arch", "coco"]
    assert {"biomed_roberta", "minilm", "tiny_roberta"} <= set(lists.encoders_of(config, "text"))
    assert not set(lists.encoders_of(config, "text")) & set(lists.encoders_of(config, "image"))
    assert lists.folds_of(config, "medpix") == [0, 1, 2, 3, 4]
    assert lists.folds_of(put(config, "datasets.demo.folds.seeds", 2), "demo") == list(range(10))
    assert list(lists.converted_weights(config)) == ["mobilenet_v1_075"]
    assert lists.score_shares(config, "demo") == [], "within the evaluation itself"
    assert lists.score_shares(put(config, "datasets.demo.evaluation.jobs", 3), "demo") == [0, 1, 2]
    assert lists.table_runs(config, "arch")[:2] == [("arch", "lile_paper", 0), ("arch", "lile_paper", 1)]
    sharded = put(config, "datasets.demo.shards", 2)
    assert stage_files.stores_of(sharded, "demo", "lile_demo", "image") == [
        "results/demo/features/tiny_vit/shard-0.h5",
        "results/demo/features/tiny_vit/shard-1.h5",
    ]


def test_sources_are_inputs_where_they_are_there(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert stage_files.source_files(config, "arch") == [
        "resources/arch/books_set.unpacked",
        "resources/arch/pubmed_set.unpacked",
    ]
    coco = [f"resources/coco/{name}.unpacked" for name in ("train2014", "val2014", "annotations", "split")]
    assert stage_files.source_files(config, "coco") == coco
    Path("mine.json").write_text("{}")
    assert stage_files.source_files(put(config, "datasets.coco.split_file", "mine.json"), "coco") == [
        *coco,
        "mine.json",
    ]
    assert stage_files.source_files(config, "flickr8k_coco") == []
    Path("work/flickr8k_coco/annotations").mkdir(parents=True)
    for name in ("dataset_flickr8k.json", "annotations/captions_val2014.json"):
        Path("work/flickr8k_coco", name).write_text("{}")
    assert stage_files.source_files(config, "flickr8k_coco") == [
        "work/flickr8k_coco/dataset_flickr8k.json",
        "work/flickr8k_coco/annotations/captions_val2014.json",
    ]
    assert stage_files.source_files(config, "demo") == []
    mine = put(config, "datasets.medpix.file", "own.csv")
    assert stage_files.source_files(mine, "medpix") == [], "missing: left to the check, which says what to do"
    Path("own.csv").write_text("image,caption\n")
    assert stage_files.source_files(mine, "medpix") == ["own.csv"]


def test_weights_are_inputs_where_they_are_files(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = ["resources/encoders/mobilenet_v1_075/config.json", "resources/encoders/mobilenet_v1_075/model.safetensors"]
    assert stage_files.encoder_files(config, "mobilenet") == made
    assert stage_files.encoder_files(config, "deit_base") == []
    assert stage_files.encoder_files(config, "minilm") == []
    folder = Path("resources/encoders/own")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    mine = put(config, "encoders.deit_base.weights", str(folder))
    assert stage_files.encoder_files(mine, "deit_base") == [str(folder / "config.json")]
