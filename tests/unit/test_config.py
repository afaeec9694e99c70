"""The config: overlays, variables, defaults, and errors that name the key and the way out."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from lile.config import BASE, ROOT, load, prepare, read_schema
from lile.config_checks import model_error
from lile.errors import InputError
from lile.models.config import ModelConfig

TRIAL = ROOT / "config" / "trial"


@pytest.fixture
def small() -> dict[str, Any]:
    return yaml.safe_load(
        """
        datasets:
          own: {kind: pairs, file: own.csv, encoders: {image: see, text: read}}
          drawn: {kind: synthetic, encoders: {image: see, text: read}}
        encoders:
          see: {modality: image, weights: some/hub-id}
          read: {modality: text, weights: random, config: some/folder}
        models: {first: {}}
        tables: {shown: {dataset: own, models: [first]}}
        """
    )


def changed(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *above, last = path.split(".")
    block = config
    for key in above:
        block = block.setdefault(key, {})
    block[last] = value
    return config


def test_shipped_configs_are_valid_alone_and_together():
    assert {"demo", "arch"} <= set(load([])["tables"])
    for name in ("medpix", "flickr8k", "flickr8k_coco"):
        assert name in load([TRIAL / "rows.yaml", TRIAL / f"{name}.yaml"])["tables"]
    joined = load(
        [TRIAL / f"{name}.yaml" for name in ("rows", "flickr8k", "flickr8k_coco", "medpix", "pretrain", "short")]
    )
    assert joined["datasets"]["flickr8k"]["limit"] == 150, "short.yaml lies over the trials"
    assert joined["models"]["lile_small"]["matching"]["reduce"] == "mean"


def test_what_coco_is_where_nothing_is_said(small):
    encoders = {"image": "see", "text": "read"}
    small["datasets"]["photos"] = {"kind": "coco", "encoders": encoders}
    small["datasets"]["mine"] = {"kind": "coco", "encoders": encoders, "download": False, "root": "/data/coco"}
    small["datasets"]["again"] = {"same_data_as": "photos", "folds": {"count": 3}}
    datasets = prepare(small)["datasets"]
    photos, mine, again = (datasets[name] for name in ("photos", "mine", "again"))
    assert (photos["folds"]["by"], photos["folds"]["count"], photos["descriptions"]) == ("split", 1, "whole")
    assert (photos["root"], photos["split_file"]) == ("resources/photos", "resources/photos/split/dataset_coco.json")
    assert (mine["root"], mine["split_file"]) == ("/data/coco", "/data/coco/dataset_coco.json")
    assert (again["split_file"], again["folds"]["count"]) == (photos["split_file"], 3)
    assert {name: archive["size"] for name, archive in photos["archives"].items()} == {
        "train2014": 13_510_573_713, "val2014": 6_645_013_297, "annotations": 252_872_794, "split": 36_745_453,
    }  # fmt: skip
    assert not photos["keep_archives"]


def test_defaults_are_filled_at_every_level_and_agree_with_the_model(small):
    config = prepare(small)
    model = config["models"]["first"]
    assert (model.pop("kind"), model.pop("encoders")) == ("trained", {"image": None, "text": None})
    assert ModelConfig.from_dict(model) == ModelConfig()
    assert model == asdict(ModelConfig()), "the schema's defaults are the model's own"
    assert config["datasets"]["drawn"]["items"] == 800
    assert "items" not in config["datasets"]["own"], "a key of another kind is not filled in"
    assert config["datasets"]["own"]["folds"] == {
        "by": "cross_validation", "count": 5, "group_by": "group", "validation": 0.1, "seeds": 1,
            "near_duplicates": "apart",
    }  # fmt: skip
    assert config["encoders"]["see"]["image_size_px"] == 224
    assert "max_tokens" not in config["encoders"]["see"]
    assert config["seed"] == 0
    assert config["tracking"] == {"uri": None}


def test_prepare_leaves_its_input_alone_and_is_its_own_fixed_point(small):
    before = yaml.safe_dump(small)
    config = prepare(small)
    assert yaml.safe_dump(small) == before
    assert prepare(config) == config


def test_load_lays_files_over_each_other_deeply(tmp_path, small):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(yaml.safe_dump(small))
    second.write_text("models: {first: {maps: 4}}\ntables: {shown: {models: [first]}}\n")
    config = load([first, second], base=None)
    assert config["models"]["first"]["maps"] == 4
    assert config["models"]["first"]["width"] == 1024
    assert config["tables"]["shown"]["dataset"] == "own"


def test_variables_are_expanded(monkeypatch, small):
    monkeypatch.setenv("LILE_HERE", "/somewhere")
    monkeypatch.delenv("LILE_GONE", raising=False)
    changed(small, "datasets.own.file", "${LILE_HERE}/a/${LILE_GONE:-b}.csv")
    assert prepare(small)["datasets"]["own"]["file"] == "/somewhere/a/b.csv"
    changed(small, "datasets.own.file", "${LILE_GONE}/x")
    with pytest.raises(InputError, match=r"datasets\.own\.file: .*LILE_GONE is not set"):
        prepare(small)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("sed", 1, ["sed: unknown key", "did you mean seed?"]),
        ("models.first.training.epoch", 3, ["models.first.training.epoch", "did you mean epochs?"]),
        ("models.first.training.learning_rate", "1e-4", ["learning_rate: found '1e-4'", "write 1.0e-4"]),
        ("models.first.loss.margin", "2E3", ["write 2.0e+3"]),
        ("models.first.loss", None, ["models.first.loss: found nothing", "write {}"]),
        ("models.first.preset", "papr", ["models.first.preset", "Did you mean paper?"]),
        ("models.first.training.precision", 32, ['in quotes: "32"']),
        ("models.first.preset", "scaled", ["models.first: preset 'scaled' means matching.reduce: mean, found 'sum'"]),
        ("models.first.matchin", {}, ["models.first.matchin: unknown key; did you mean matching?"]),
        ("models.first.matching.kind", "dott", ["models.first.matching.kind: found 'dott'", "Did you mean dot?"]),
        (
            "models.first.matching.kind",
            "dot",
            ["models.first: ", "image.pooling 'maps' leaves several", "max or iterative"],
        ),
        (
            "models.first.image",
            {"source": "words"},
            ["models.first: image.source: found 'words'", "only texts have words"],
        ),
        (
            "models.first.text",
            {"pooling": "last"},
            ["models.first: text: pooling: last", "set recurrent: forward or both"],
        ),
        ("models.first.loss.diversity", 0.1, ["models.first: loss.diversity: needs image.pooling: residual_maps"]),
        ("models.first.loss.caption", 1.0, ["models.first: loss.caption: ", "needs text.source: words"]),
        ("models.first.training", {"epochs": 0}, ["models.first: training.epochs: 0 leaves random weights"]),
        ("models.first.encoders.image", "sea", ["models.first.encoders.image: sea", "did you mean see?"]),
        ("models.first.encoders.text", "see", ["models.first.encoders.text: see does not read texts", "do: read"]),
        ("models.first.kind", "ensembel", ["models.first.kind: found 'ensembel'", "Did you mean ensemble?"]),
        ("models.both", {"kind": "ensemble"}, ["models.both: members is missing"]),
        ("models.both", {"kind": "ensemble", "members": ["first"]}, ["models.both.members", "at least 2"]),
        (
            "models.both",
            {"kind": "ensemble", "members": ["first", "firts"]},
            ["models.both.members: firts", "mean first?"],
        ),
        ("models.both", {"kind": "ensemble", "maps": 2}, ["models.both.maps", "belongs to a model of kind trained"]),
        ("models.data", {}, ["the name 'data' is taken"]),
        ("datasets.tables", {"kind": "synthetic"}, ["the name 'tables' is taken"]),
        ("datasets.mlflow", {"kind": "synthetic"}, ["the name 'mlflow' is taken"]),
        ("models.Bad-Name", {}, ["'Bad-Name' must match"]),
        ("datasets.own.items", 5, ["datasets.own.items", "belongs to a dataset of kind synthetic"]),
        ("datasets.own.kind", "csv", ["datasets.own.kind: found 'csv'", "synthetic, arch, coco, pairs, precomputed"]),
        ("datasets.own.encoders", {"image": "see"}, ["datasets.own.encoders: text is missing"]),
        ("datasets.own.encoders.image", "sea", ["sea is not among encoders", "did you mean see?"]),
        ("datasets.own.encoders.image", "read", ["read does not read images", "encoders that do: see"]),
        ("datasets.own.folds", {"by": "split"}, ["columns.split is null"]),
        ("datasets.drawn.folds", {"by": "split"}, ["kind synthetic has none"]),
        ("datasets.own.folds", {"by": "split", "seeds": 2}, ["folds.seeds: found 2", "count is the number of seeds"]),
        ("datasets.own.folds", {"by": "split", "near_duplicates": "together"}, ["moves no image", "cross_validation"]),
        ("datasets.own.folds", {"count": 1}, ["cross_validation needs at least 2"]),
        ("encoders.see.config", "x", ["encoders.see.config: only with weights: random"]),
        ("encoders.read.config", None, ["encoders.read.config: needed with weights: random"]),
        ("encoders.see.convert_from", "a.npz", ["found some/hub-id", "resources/encoders/<name>"]),
        ("encoders.see.max_tokens", 5, ["encoders.see.max_tokens", "encoder of kind text"]),
        ("encoders.see.trainable_blocks", -1, ["the least is 0"]),
        ("tables.shown.dataset", "owns", ["owns is not among datasets", "did you mean own?"]),
        ("tables.shown.models", ["second"], ["second is not among models"]),
        ("tables.shown.models", [], ["at least 1 entry"]),
        ("tables.shown.labels", {"firts": "LILE"}, ["tables.shown.labels: firts", "did you mean first?"]),
        (
            "tables.shown",
            {"dataset": "own", "models": ["first", "b"], "labels": {"first": "b"}},
            ["two rows are called 'b'"],
        ),
        ("tables.shown.compare", {"second": "LILE"}, ["tables.shown.compare: second is not among models"]),
        (
            "datasets.photos",
            {"kind": "coco", "root": "/x", "encoders": {"image": "see", "text": "read"}},
            ["datasets.photos.root: found /x", "resources/photos", "download: false"],
        ),
        (
            "datasets.photos",
            {"kind": "coco", "images": "/x", "encoders": {"image": "see", "text": "read"}},
            ["datasets.photos.images: a download brings them to resources/photos", "download: false"],
        ),
        (
            "datasets.photos",
            {"kind": "coco", "file": "x.json", "encoders": {"image": "see", "text": "read"}},
            ["datasets.photos.file"],
        ),
        ("tables.shown.publishd", None, ["tables.shown.publishd: unknown key; did you mean published?"]),
        ("tables.shown.published", "no.csv", ["tables.shown.published: no.csv: no such file"]),
        ("tables.shown.published", {"owns": "x.csv"}, ["tables.shown.published.owns", "did you mean own?"]),
        (
            "datasets.a",
            {"kind": "arch", "root": "/x", "encoders": {"image": "see", "text": "read"}},
            ["download: false"],
        ),
        ("seed", True, ["seed: found True", "needed is an integer"]),
        ("models", [], ["models: found []", "keys with values"]),
    ],
)
def test_mistakes_are_named_with_their_place_and_the_way_out(small, path, value, words):
    with pytest.raises(InputError) as raised:
        prepare(changed(small, path, value))
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (["first", "both"], ["models.outer.members: both is of kind ensemble", "needed is one of kind trained"]),
        (["first", "elsewhere"], ["models.outer.members: they have different encoders"]),
        (["first", "reader"], ["models.outer.members: they read different words", "text.source"]),
        (["reader", "rarer"], ["models.outer.members: they read different words", "text.min_count"]),
    ],
)
def test_an_ensembles_members_have_scores_of_the_same_tokens(small, members, words):
    small["encoders"]["look"] = {"modality": "image", "weights": "some/hub-id"}
    small["models"] |= {
        "second": {},
        "elsewhere": {"encoders": {"image": "look"}},
        "reader": {"text": {"source": "words"}},
        "rarer": {"text": {"source": "words", "min_count": 1}},
        "wider": {"text": {"source": "words", "word_width": 30}},
        "readers": {"kind": "ensemble", "members": ["reader", "wider"]},
        "both": {"kind": "ensemble", "members": ["first", "second"]},
    }
    prepare(small)
    small["models"]["outer"] = {"kind": "ensemble", "members": members}
    with pytest.raises(InputError) as raised:
        prepare(small)
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("arch,LILE,44.8,57.4,64.4,36.7,52.2,61.7,317.1,Table 2", "not 11 cells"),
        ("arch,LILE,44.8,57.4,64.4,36.7,52.2,sixty,317.1,Table 2,", "line 3, t2i/R10: 'sixty' is not a number"),
        ("arch,LILE,44.8,57.4,64.4,36.7,52.2,161.7,317.1,Table 2,", "161.7 is not from 0 to 100"),
        ("arch,PVSE,44.8,57.4,64.4,36.7,52.2,61.7,317.1,Table 2,", "method 'PVSE' is there twice"),
    ],
)
@pytest.mark.parametrize("by_protocol", [False, True])
def test_a_malformed_row_of_published_figures_ends_before_any_job(small, tmp_path, row, words, by_protocol):
    header, first, *_ = (ROOT / "config/published/arch.csv").read_text(encoding="utf-8").splitlines()
    path = tmp_path / "mine.csv"
    path.write_text(f"{header}\n{first}\n")
    named = {"own_blocks": str(path)} if by_protocol else str(path)
    assert prepare(changed(small, "tables.shown.published", named))
    path.write_text(f"{header}\n{first}\n{row}\n")
    with pytest.raises(InputError, match=r"tables\.shown\.published: .*mine\.csv") as raised:
        prepare(small)
    assert words in str(raised.value)


def test_a_row_that_only_attends_to_given_vectors_has_nothing_to_train(small):
    given = {"preset": "baseline", "image": {"pooling": "given"}, "text": {"pooling": "given"}, "steps": 1}
    assert model_error(given) is None, "alpha is learnt"
    for matching in ({"direct": "none"}, {"alpha_trained": False}):
        assert "nothing in this row can be trained" in str(model_error({**given, "matching": matching}))
        assert model_error({**given, "matching": matching, "steps": 2}) is None, "the gate is learnt"


def test_a_row_is_compared_with_a_method_that_was_published(small):
    changed(small, "tables.shown.compare", {"first": "LILE"})
    assert prepare(small), "nothing is shown to compare with"
    changed(small, "tables.shown.published", "config/published/arch.csv")
    assert prepare(small)["tables"]["shown"]["compare"] == {"first": "LILE"}
    changed(small, "tables.shown.compare", {"first": "CLIP zero shot"})
    with pytest.raises(InputError, match=r"did you mean CLIP zero-shot\?"):
        prepare(small)


def test_all_mistakes_are_listed_at_once(small):
    changed(small, "sed", 1)
    changed(small, "models.first.map", 1)
    with pytest.raises(InputError, match="in 2 places"):
        prepare(small)


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: [", "not valid YAML"), ("- a\n", "holds a list"), ("sed: 1\n", "unknown key"), (None, "cannot be read")],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, text, words):
    path = tmp_path / "my.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=words) as raised:
        load([path])
    assert "my.yaml" in str(raised.value)


def test_shipped_paths_are_found_from_another_folder(tmp_path, monkeypatch):
    here = load([])["tables"]["arch"]["published"]
    monkeypatch.chdir(tmp_path)
    there = load([], base=BASE)["tables"]["arch"]["published"]
    assert not Path(there).is_absolute()
    assert (tmp_path / there).resolve() == (ROOT / "config/published/arch.csv").resolve()
    assert here in ("config/published/arch.csv", os.path.relpath(ROOT / "config/published/arch.csv", Path.cwd()))


def blocks(node: Any, where: str = "") -> Any:
    if isinstance(node, dict):
        if "properties" in node and "if" not in where:
            yield where, node
        for key, below in node.items():
            yield from blocks(below, f"{where}/{key}")
    elif isinstance(node, list):
        for index, below in enumerate(node):
            yield from blocks(below, f"{where}/{index}")


def test_the_schema_is_closed_and_described_at_every_level():
    seen = 0
    for where, block in blocks(read_schema()):
        # What only shares keys out, and what only sends on to the block of its kind, is closed there.
        shared = where.endswith("_common") or "allOf" in block
        assert shared or block.get("additionalProperties") is False, where
        for name, entry in block["properties"].items():
            assert entry.get("description"), f"{where}/{name}"
            seen += 1
    assert seen > 60


def test_the_readme_lists_the_schemas_keys():
    command = [sys.executable, str(ROOT / ".ci" / "config_keys.py")]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert table in (ROOT / "config" / "README.md").read_text(encoding="utf-8"), "run .ci/config_keys.py --write"


def test_reading_the_config_imports_nothing_heavy():
    script = "import sys, lile.config, lile.stages, lile.fingerprint; lile.config.load([]); print(*sys.modules)"
    command = [sys.executable, "-c", script]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split())
    assert not loaded & {"torch", "numpy", "pandas", "timm", "transformers", "mlflow"}
