"""A cross-encoder's fold end to end: it trains, re-ranks, and survives a kill with the same bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tiny_bert import write_bert_config

from lile.cross import loop, rescore
from lile.cross.evaluate import evaluate_cross_fold
from lile.cross.inputs import CrossFiles, load_cross
from lile.cross.loop import CrossTrainer, rate_at
from lile.cross.rescore import match_logits
from lile.cross.shortlist import shortlist_pairs
from lile.cross.train import train_cross_fold
from lile.errors import InputError
from lile.evaluation.fold import evaluate_fold
from lile.evaluation.grid import Matrix
from lile.evaluation.inputs import load_fold, load_members
from lile.evaluation.metrics import fold_metrics
from lile.evaluation.score import Scorer, compute_device, score_matrix
from lile.models.weights import load_weights, write_weights

SHARE_ALONE = 0.6365  # the loss of who knows only that one pair in three is right


@dataclass(frozen=True)
class CrossCase:
    config: dict
    files: CrossFiles


@pytest.fixture
def case(fold_case, tmp_path) -> CrossCase:
    """Another row as it is initialised, and a cross-encoder over its best three."""
    inputs = load_fold(fold_case.config, fold_case.files)
    write_weights(tmp_path / "base.safetensors", inputs.model.state_dict(), {})
    block = {
        "kind": "cross_encoder",
        "shortlist": {"model": "lile", "top": 3},
        "config": str(write_bert_config(tmp_path / "tiny_bert")),
        "max_words": 8,
        "max_regions": 4,
        "tags": str(tmp_path / "tags.csv"),
        "max_tags": 3,
        "negatives": {"per_positive": 2, "pool": 16},
        "training": {"batch_size": 8, "epochs": 3, "learning_rate": 1e-3},
    }
    (tmp_path / "tags.csv").write_text("image_id,tags\n" + "".join(f"i{n},{n} gland\n" for n in range(0, 24, 2)))
    config = {name: value for name, value in fold_case.config.items() if name != "model_config"}
    config |= {"model": "oscar", "cross_config": block, "regions": fold_case.config["encoders"]["image"]}
    weights, tags = [tmp_path / "base.safetensors"], tmp_path / "tags.csv"
    return CrossCase(config, CrossFiles(fold_case.files, weights, fold_case.files.images_store, tags))


def trained(case: CrossCase, folder: Path, work: str = "work") -> Path:
    train_cross_fold(case.config, case.files, folder / work, folder / "out", "c0de")
    return folder / "out"


def test_a_fold_writes_what_a_trained_row_writes(case, fold_case, tmp_path):
    out = trained(case, tmp_path)
    history = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in history] == [1, 2, 3]
    assert all(entry["alpha"] is None and entry["loss"] > 0 for entry in history)
    assert 0 < history[-1]["learning_rate"] < history[0]["learning_rate"] <= 1e-3
    first = history[0]["validation"]
    assert first["Rsum"] == pytest.approx(sum(v for name, v in first.items() if name != "Rsum"))
    run = json.loads((out / "run.json").read_text())
    assert run["preset"] == "baseline"
    assert run["config"]["shortlist"] == {"model": "lile", "top": 3}
    assert run["encoders"]["text"]["origin"] == "random"
    assert len(run["inputs"]) == 6, "two stores, three tables, tags; the other row's weights differ by fold"
    assert len(run["shortlist_weights"]) == 1
    assert run["best_epoch"] == max(history, key=lambda e: (e["validation"]["Rsum"], -e["epoch"]))["epoch"]
    assert list((tmp_path / "work").iterdir()) == []
    metrics = evaluate_cross_fold(case.config, case.files, out / "model.safetensors", out, tmp_path / "work")
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert list((tmp_path / "work").iterdir()) == []
    base = evaluate_fold(fold_case.config, fold_case.files, case.files.base_weights, tmp_path / "base", tmp_path / "w")
    assert base["protocols"].keys() == metrics["protocols"].keys()
    assert base["protocols"]["own"]["chance_Rsum"] == metrics["protocols"]["own"]["chance_Rsum"]
    with np.load(out / "ranks.npz") as mine, np.load(tmp_path / "base" / "ranks.npz") as theirs:
        assert set(mine) == set(theirs)
    assert {p.name for p in (out / "trec").iterdir()} == {p.name for p in (tmp_path / "base" / "trec").iterdir()}


def test_the_figures_are_those_of_a_matrix_put_together_by_hand(case, tmp_path):
    weights = trained(case, tmp_path) / "model.safetensors"
    found = evaluate_cross_fold(case.config, case.files, weights, tmp_path / "out", tmp_path / "work")
    members = load_members(case.config, case.files.base, case.files.base_weights)
    images = [f"i{n}" for n in range(20, 24)]
    descriptions = members[0].descriptions_of(images)
    texts = descriptions["text_id"].tolist()
    base = score_matrix(Scorer(members, compute_device()), images, texts, label="test")
    parts = load_cross(case.config, case.files, descriptions)
    load_weights(parts.model, weights)
    pairs = shortlist_pairs(Matrix(base), 3)
    assert 0 < len(pairs) < base.size
    logits = match_logits(parts.model, parts.reader, pairs, images, texts, label="test")
    final = np.argsort(np.argsort(base, axis=None)).reshape(base.shape) / base.size  # no ties: places do for scores
    assert np.unique(base).size == base.size
    for (row, column), logit in zip(pairs, logits, strict=True):
        final[row, column] = 1 + 1 / (1 + np.exp(-np.float64(logit)))
    own = members[0].images[members[0].images["image_id"].isin(images)]
    expected, ranks = fold_metrics(final, images, texts, own, descriptions, fold=0)
    assert found == expected
    with np.load(tmp_path / "out" / "ranks.npz") as kept:
        assert kept["own_i2t"].tolist() == ranks["own_i2t"].tolist()


class Killed(BaseException):
    """What a SIGKILL would do, at a place of our choice."""


@pytest.mark.parametrize("epoch", [1, 2])
def test_killed_after_any_epoch_the_bytes_are_the_same(case, tmp_path, monkeypatch, epoch):
    whole = trained(case, tmp_path / "whole")
    real = CrossTrainer._train

    def dies(self, number):
        if number == epoch + 1:
            raise Killed
        return real(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(loop.CrossTrainer, "_train", dies)
        with pytest.raises(Killed):
            trained(case, tmp_path / "killed")
    assert not (tmp_path / "killed" / "out").exists()
    resumed = trained(case, tmp_path / "killed")
    assert (whole / "model.safetensors").read_bytes() == (resumed / "model.safetensors").read_bytes()
    assert json.loads((resumed / "run.json").read_text())["interruptions"] == 1


def test_a_killed_evaluation_goes_on_after_its_last_run_of_pairs(case, tmp_path, monkeypatch):
    monkeypatch.setattr(rescore, "RUN", 4)
    weights = trained(case, tmp_path) / "model.safetensors"
    evaluate_cross_fold(case.config, case.files, weights, tmp_path / "whole", tmp_path / "elsewhere")
    real, runs = rescore._run_logits, []

    def counted(*args):
        if len(runs) == 3:
            raise Killed
        runs.append(0)
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(rescore, "_run_logits", counted)
        with pytest.raises(Killed):
            evaluate_cross_fold(case.config, case.files, weights, tmp_path / "again", tmp_path / "work")
    monkeypatch.setattr(rescore, "_run_logits", lambda *args: runs.append(1) or real(*args))
    evaluate_cross_fold(case.config, case.files, weights, tmp_path / "again", tmp_path / "work")
    with np.load(tmp_path / "whole" / "ranks.npz") as kept:
        pairs = 4 * len(kept["description_ids"])
    assert runs.count(0) == 3
    assert 0 < runs.count(1) <= pairs / 4 - 3
    for name in ("metrics.json", "ranks.npz"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_weights_of_another_training_get_no_finished_pairs(case, tmp_path):
    weights = trained(case, tmp_path) / "model.safetensors"
    first = evaluate_cross_fold(case.config, case.files, weights, tmp_path / "a", tmp_path / "work")
    parts = load_cross(case.config, case.files, load_fold_descriptions(case))
    load_weights(parts.model, weights)
    flipped = {k: -v if k.startswith("classifier") else v for k, v in parts.model.state_dict().items()}
    write_weights(tmp_path / "flipped.safetensors", flipped, {})
    other = evaluate_cross_fold(
        case.config, case.files, tmp_path / "flipped.safetensors", tmp_path / "b", tmp_path / "work"
    )
    assert first != other


def load_fold_descriptions(case):
    return load_members(case.config, case.files.base, case.files.base_weights)[0].descriptions


def test_a_cross_encoder_learns_the_pairs_it_is_shown(case, tmp_path, monkeypatch):
    """The same right and wrong pairs in every epoch can be learnt by heart."""
    real = loop.epoch_steps
    monkeypatch.setattr(loop, "epoch_steps", lambda *args: real(*args[:4], 0, args[5]))
    write_bert_config(tmp_path / "tiny_bert", initializer_range=0.2, hidden_dropout_prob=0.0)
    config = json.loads(json.dumps(case.config))
    config["cross_config"]["training"] |= {"epochs": 40, "learning_rate": 1e-2, "patience": 40}
    train_cross_fold(config, case.files, tmp_path / "work", tmp_path / "out", "c")
    history = [json.loads(line) for line in (tmp_path / "out" / "history.jsonl").read_text().splitlines()]
    assert history[-1]["loss"] < 0.5 * SHARE_ALONE


def test_a_loss_that_is_not_finite_stops_the_run(case, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "rate_at", lambda *args: 1e30)
    with pytest.raises(InputError, match="learning_rate"):
        trained(case, tmp_path)
    assert not (tmp_path / "out").exists()


def test_tokens_of_another_encoder_are_refused(case, tmp_path):
    config = {**case.config, "regions": {**case.config["regions"], "trainable_blocks": 0}}
    with pytest.raises(InputError, match=r"images\.h5"):
        train_cross_fold(config, case.files, tmp_path / "work", tmp_path / "out", "c")


def test_the_rate_rises_and_falls():
    from lile.cross.config import CrossTrainingConfig

    rates = [rate_at(step, 10, CrossTrainingConfig(learning_rate=1.0, warmup=0.2)) for step in range(10)]
    assert rates == pytest.approx([0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    assert rate_at(0, 10, CrossTrainingConfig(learning_rate=1.0, warmup=0.0)) == 1.0
