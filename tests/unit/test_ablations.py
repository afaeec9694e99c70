"""Ablations: the models and tables they stand for, what they share, and mistakes that end before any job."""

from __future__ import annotations

import random
from typing import Any

import pytest
import yaml

from lile import lists
from lile.config import load, prepare
from lile.errors import InputError


@pytest.fixture
def small() -> dict[str, Any]:
    return yaml.safe_load(
        """
        datasets:
          own: {kind: pairs, file: own.csv, encoders: {image: see, text: read}, folds: {count: 2}}
          drawn: {kind: synthetic, encoders: {image: see, text: read}}
        encoders:
          see: {modality: image, weights: some/hub-id}
          read: {modality: text, weights: some/hub-id}
        models:
          first: {preset: scaled, matching: {reduce: mean}}
          one_step: {preset: scaled, steps: 1, matching: {reduce: mean}, training: {epochs: 3}}
        tables: {shown: {dataset: own, models: [first]}}
        ablations:
          steps: {model: first, vary: {steps: [1, 2, 4]}}
          gate:
            model: first
            datasets: [own]
            rows:
              gate: {}
              no refinement: {steps: 1}
              candidate alone: {matching: {update: candidate}}
        """
    )


def with_ablation(config: dict[str, Any], **block: Any) -> dict[str, Any]:
    config["ablations"] = {"tried": {"model": "first", **block}}
    return config


def test_a_row_is_a_model_and_a_dataset_has_a_table(small):
    config = prepare(small)
    assert set(config["models"]) == {
        "first", "one_step", "first__steps_1", "first__steps_4", "first__matching_update_candidate",
    }  # fmt: skip
    assert config["models"]["first__steps_4"] == {**config["models"]["first"], "steps": 4}
    assert set(config["tables"]) == {"shown", "own_steps", "drawn_steps", "own_gate"}
    table = config["tables"]["own_steps"]
    assert table["models"] == ["first__steps_1", "first", "first__steps_4"], "in the order of the values"
    assert list(table["labels"].values()) == ["steps = 1", "steps = 2", "steps = 4"]
    assert table["published"] is None
    assert table.keys() == config["tables"]["shown"].keys(), "complete, as one that was written"


def test_equal_results_are_shared(small):
    config = prepare(small)
    gate = config["tables"]["own_gate"]["models"]
    assert gate == ["first", "first__steps_1", "first__matching_update_candidate"]
    small["models"]["one_step"].pop("training")
    config = prepare(small)
    assert config["tables"]["own_gate"]["models"][1] == "one_step", "a row that was written is the same model"
    assert "first__steps_1" not in config["models"]


def test_every_run_of_two_ablations_is_planned_once(small):
    config = prepare(small)
    runs = [run for name in ("own_steps", "own_gate") for run in lists.table_runs(config, name)]
    assert len(runs) == 2 * 6
    assert len(set(runs)) == 2 * 4


def test_prepare_is_its_own_fixed_point_and_heeds_no_order_of_keys(small):
    config = prepare(small)
    assert prepare(config) == config
    for seed in range(5):
        shuffled = {
            key: dict(random.Random(seed).sample(list(value.items()), len(value))) for key, value in small.items()
        }
        assert prepare(shuffled) == config


def test_several_keys_make_every_combination(small):
    config = prepare(with_ablation(small, vary={"maps": [4, 16], "matching.direct": ["none", "mean_map"]}))
    table = config["tables"]["own_tried"]
    assert list(table["labels"].items()) == [
        ("first__maps_4__matching_direct_none", "maps = 4, matching.direct = none"),
        ("first__maps_4", "maps = 4, matching.direct = mean_map"),
        ("first__matching_direct_none", "maps = 16, matching.direct = none"),
        ("first", "maps = 16, matching.direct = mean_map"),
    ]


@pytest.mark.parametrize(
    ("change", "preset"),
    [
        ({"steps": 3}, "scaled"),
        ({"matching": {"reduce": "sum"}}, "custom"),
        ({"matching": {"reduce": "sum"}, "preset": "paper"}, "paper"),
        ({"image": {"pooling": "mean"}, "text": {"pooling": "mean"}}, "custom"),
    ],
)
def test_a_row_that_breaks_its_presets_promise_is_custom(small, change, preset):
    config = prepare(with_ablation(small, rows={"it": change}))
    (model,) = config["tables"]["own_tried"]["models"]
    assert config["models"][model]["preset"] == preset


def test_names_are_safe_and_never_too_long(small):
    rows = {"a": {"loss": {"margin": 0.05}}, "b": {"image": {"pooling": "none"}, "text": {"pooling": "none"}}}
    many = {"training": {"batch_size": 7, "epochs": 2, "learning_rate": 0.0005, "patience": 9, "clip_norm": 1.5}}
    config = prepare(with_ablation(small, rows={**rows, "c": many}))
    names = config["tables"]["own_tried"]["models"]
    assert names[:2] == ["first__loss_margin_0_05", "first__image_pooling_none__text_pooling_none"]
    assert len(names[2]) == len("first__") + 8


def test_published_figures_stand_beside_the_dataset_they_are_of(small):
    config = prepare(with_ablation(small, vary={"steps": [1]}, published={"own": "config/published/steps.csv"}))
    assert config["tables"]["own_tried"]["published"].endswith("config/published/steps.csv")
    assert config["tables"]["drawn_tried"]["published"] is None


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"vary": {"step": [1]}}, ["ablations.tried, row 'step = 1': step: unknown key; did you mean steps?"]),
        ({"vary": {"matching.directt": ["none"]}}, ["row 'matching.directt = none'", "did you mean direct?"]),
        ({"vary": {"maps.number": [1]}}, ["maps: found keys with values, but needed is an integer"]),
        ({"vary": {"steps": [2, 0]}}, ["ablations.tried, row 'steps = 0': steps: found 0, but the least is 1"]),
        ({"vary": {"matching.direct": ["mean_mapp"]}}, ["row 'matching.direct = mean_mapp'", "Did you mean mean_map?"]),
        ({"vary": {"training.learning_rate": ["1e-4"]}}, ["write 1.0e-4"]),
        ({"rows": {"odd": {"matching": {"kind": "dot"}}}}, ["ablations.tried, row 'odd': ", "image.pooling"]),
        (
            {"rows": {"odd": {"matching": {"reduce": "sum"}, "preset": "scaled"}}},
            ["row 'odd'", "preset 'scaled' means"],
        ),
        ({"rows": {"a": {}, "b": {"steps": 2}}}, ["row 'b': the same model as row 'a'"]),
        ({"vary": {"steps": [1]}, "rows": {"a": {}}}, ["either vary", "or rows"]),
        ({}, ["either vary", "or rows"]),
        ({"vary": {"steps": []}}, ["ablations.tried.vary.steps", "at least 1 entry"]),
        ({"vary": {"steps": [3, 3]}}, ["ablations.tried.vary.steps", "stands there twice"]),
        ({"vary": {"steps": 3}}, ["ablations.tried.vary.steps", "needed is a list"]),
        ({"vari": {"steps": [3]}}, ["ablations.tried.vari: unknown key; did you mean vary?"]),
        ({"vary": {"steps": [1]}, "model": "firts"}, ["ablations.tried.model: firts is not among models", "first?"]),
        ({"vary": {"steps": [1]}, "datasets": ["owns"]}, ["ablations.tried.datasets: owns", "did you mean own?"]),
        (
            {"vary": {"steps": [1]}, "published": {"owns": "config/published/steps.csv"}},
            ["ablations.tried.published: owns is not among datasets; did you mean own?"],
        ),
        ({"vary": {"steps": [1]}, "published": {"own": "no.csv"}}, ["ablations.tried.published: no.csv: no such file"]),
    ],
)
def test_mistakes_are_named_with_their_row_and_the_way_out(small, block, words):
    with pytest.raises(InputError) as raised:
        prepare(with_ablation(small, **block))
    for word in words:
        assert word in str(raised.value)


def test_a_table_or_model_of_that_name_is_a_clash(small):
    small["tables"]["own_steps"] = {"dataset": "own", "models": ["first"]}
    with pytest.raises(InputError, match=r"ablations\.steps: its table on own is own_steps, but that is taken"):
        prepare(small)
    del small["tables"]["own_steps"]
    small["models"]["first__steps_4"] = {"steps": 3}
    with pytest.raises(InputError, match=r"row 'steps = 4': would be called first__steps_4, but .* is another model"):
        prepare(small)


def test_two_ablations_of_one_table_name_are_a_clash(small):
    small["datasets"]["own_other"] = small["datasets"]["own"]
    small["ablations"]["other_steps"] = {"model": "first", "vary": {"steps": [3]}}
    with pytest.raises(InputError, match="its table on own_other is own_other_steps, but that is taken"):
        prepare(small)


def test_a_row_that_does_not_suit_a_datasets_encoders_is_named(small):
    given = {"preset": "baseline", "image": {"pooling": "given"}, "text": {"pooling": "given"}}
    change = {**given, "matching": {"kind": "dot"}, "training": {"epochs": 0}}
    with pytest.raises(InputError, match=r"models\.first__.*given"):
        prepare(with_ablation(small, rows={"as it comes": change}))


def test_all_mistakes_are_listed_at_once(small):
    with pytest.raises(InputError, match="in 3 places"):
        prepare(with_ablation(small, rows={"a": {"step": 1}, "b": {"map": 1}, "c": {"widht": 1}}))


def test_the_shipped_ablations_are_those_of_the_issue():
    config = load([])
    rows = {name: len(config["tables"][f"arch_{name}"]["models"]) for name in config["ablations"]}
    assert rows == {"steps": 4, "pooling": 3, "values": 2, "direct": 3, "gate": 3, "alpha": 2, "maps": 4, "width": 3}
    distinct = {model for name in rows for model in config["tables"][f"arch_{name}"]["models"]}
    assert len(distinct) == 1 + 3 + 2 + 1 + 2 + 1 + 1 + 3 + 2, "lile_scaled and what differs; K = 1 is shared"
    assert config["tables"]["coco_steps"]["published"].endswith("config/published/steps.csv")
    assert config["tables"]["arch_steps"]["published"] is None
