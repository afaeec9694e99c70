"""A cross-encoder's block in the config: complete with the same defaults as in the code, refused before any job."""

from __future__ import annotations

import json

import pytest

from lile import stage_files, stages
from lile.checks.models import check_model
from lile.config import load
from lile.cross.config import CrossConfig
from lile.errors import InputError

BLOCK = "models: {oscar: {kind: cross_encoder, weights: some/bert, %s}}\n"


def loaded(tmp_path, keys: str) -> dict:
    path = tmp_path / "mine.yaml"
    path.write_text(BLOCK % keys)
    return load([path])


def test_schema_and_code_have_the_same_defaults(tmp_path):
    block = loaded(tmp_path, "shortlist: {model: lile_demo}")["models"]["oscar"]
    assert CrossConfig.from_dict(block).to_dict() == block
    assert CrossConfig.from_dict({"shortlist": {"model": "lile_demo"}, "weights": "some/bert"}).to_dict() == block


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("shortlist: {model: lile_dmeo}", "shortlist.model: lile_dmeo is not among models; did you mean lile_demo"),
        ("shortlist: {model: oscar}", "models.oscar.shortlist.model: oscar is of kind cross_encoder"),
        ("shortlist: {top: 3}", "models.oscar.shortlist: model is missing"),
        ("shortlist: {model: lile_demo}, max_regoins: 3", "max_regoins: unknown key; did you mean max_regions"),
        ("shortlist: {model: lile_demo}, config: folder", "models.oscar: weights 'some/bert' with config 'folder'"),
    ],
)  # fmt: skip
def test_a_mistake_ends_before_any_job(tmp_path, keys, words):
    with pytest.raises(InputError, match=words.replace(".", r"\.")):
        loaded(tmp_path, keys)


def test_what_a_training_is_told(tmp_path):
    config = loaded(tmp_path, "shortlist: {model: lile_demo, top: 7}")
    told = json.loads(stages.slice_for("train_cross", config, dataset="demo", model="oscar", fold="1"))
    assert set(told) == {"dataset", "model", "fold", "seed", "encoders", "members", "cross_config", "regions"}
    base = json.loads(stages.slice_for("evaluate", config, dataset="demo", model="lile_demo", fold="1"))
    assert told["members"] == base["members"]
    assert told["encoders"] == base["encoders"]
    assert told["regions"]["modality"] == "image"
    assert told["cross_config"]["shortlist"]["top"] == 7
    evaluated = json.loads(stages.slice_for("evaluate_cross", config, dataset="demo", model="oscar", fold="1"))
    assert {**told, "evaluation": evaluated["evaluation"]} == evaluated
    assert stage_files.weights_of(config, "demo", "oscar", "1") == ["results/demo/lile_demo/fold-1/model.safetensors"]
    assert stage_files.dataset_stores(config, "demo", "image") == stage_files.stores_of(
        config, "demo", "oscar", "image"
    )


def test_an_ensemble_makes_shortlists_too(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "models:\n  both: {kind: ensemble, members: [lile_demo, lile_scaled]}\n"
        "  oscar: {kind: cross_encoder, weights: some/bert, shortlist: {model: both}}\n"
    )
    config = load([path])
    told = json.loads(stages.slice_for("evaluate_cross", config, dataset="demo", model="oscar", fold="1"))
    assert len(told["members"]) == 2
    assert len(stage_files.weights_of(config, "demo", "oscar", "1")) == 2


def test_the_check_says_where_the_weights_are(tmp_path, bert_files):
    block = loaded(tmp_path, "shortlist: {model: lile_demo}")["models"]["oscar"]
    found = check_model("oscar", {**block, "weights": str(bert_files)})
    assert "re-ranks the best 20 of lile_demo; weights in" in str(found)
    assert "no such folder of weights" in str(check_model("oscar", {**block, "weights": "./nowhere"}))
    assert "none.csv is not there" in str(
        check_model("oscar", {**block, "weights": str(bert_files), "tags": "none.csv"})
    )
    (bert_files / "vocab.txt").unlink()
    assert "no tokenizer" in str(check_model("oscar", {**block, "weights": str(bert_files)}))
    random = {**block, "weights": "random", "config": str(tmp_path)}
    assert "no config.json" in str(check_model("oscar", random))


@pytest.fixture
def bert_files(tmp_path):
    folder = tmp_path / "bert"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "vocab.txt"):
        (folder / name).write_text("{}")
    return folder
