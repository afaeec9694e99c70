"""A fold trains, learns, survives a kill at any epoch, and is refused what does not fit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from lile.errors import InputError
from lile.evaluation.fold import evaluate_fold
from lile.evaluation.inputs import load_fold
from lile.models.losses import triplet_loss
from lile.models.weights import load_weights, write_weights
from lile.training import loop
from lile.training.fold import train_fold
from lile.training.pairs import Batch, batches, pair_set
from lile.training.progress import Progress


def test_a_fold_writes_what_it_promises(fold_case, tmp_path):
    train_fold(fold_case.config, fold_case.files, tmp_path / "work", tmp_path / "out", "c0de")
    history = [json.loads(line) for line in (tmp_path / "out" / "history.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in history] == [1, 2, 3]
    assert history[-1]["loss"] < history[0]["loss"]
    assert all(0 < entry["alpha"] < 1 and entry["pairs_per_second"] > 0 for entry in history)
    first = history[0]["validation"]
    assert first["Rsum"] == pytest.approx(sum(v for name, v in first.items() if name != "Rsum"))
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["best_epoch"] == max(history, key=lambda e: (e["validation"]["Rsum"], -e["epoch"]))["epoch"]
    assert run["epochs"] == 3
    assert run["interruptions"] == 0
    assert run["encoders"]["image"]["origin"] == "random"
    assert len(run["inputs"]) == 5
    assert list((tmp_path / "work").iterdir()) == []
    out, work = tmp_path / "out", tmp_path / "work"
    metrics = evaluate_fold(fold_case.config, fold_case.files, [out / "model.safetensors"], out, work)
    assert metrics["images"] == 4
    assert metrics["texts"] == 8
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics


class Killed(BaseException):
    """What a SIGKILL would do, at a place of our choice."""


@pytest.mark.parametrize("epoch", [1, 2])
def test_killed_after_any_epoch_the_weights_are_bit_identical(fold_case, tmp_path, monkeypatch, epoch):
    train_fold(fold_case.config, fold_case.files, tmp_path / "a", tmp_path / "whole", "c")
    real = loop.Trainer._train

    def dies(self, number):
        if number == epoch + 1:
            raise Killed
        return real(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_train", dies)
        with pytest.raises(Killed):
            train_fold(fold_case.config, fold_case.files, tmp_path / "b", tmp_path / "resumed", "c")
    assert not (tmp_path / "resumed").exists()
    train_fold(fold_case.config, fold_case.files, tmp_path / "b", tmp_path / "resumed", "c")
    names = [json.loads(line)["loss"] for line in (tmp_path / "resumed" / "history.jsonl").read_text().splitlines()]
    assert len(names) == 3
    whole, resumed = (load_file(tmp_path / run / "model.safetensors") for run in ("whole", "resumed"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert json.loads((tmp_path / "resumed" / "run.json").read_text())["interruptions"] == 1


def test_a_killed_run_never_resumes_on_other_data(fold_case, tmp_path, monkeypatch):
    """Else images of the new test part could have trained the weights."""
    real = loop.Trainer._train

    def dies(self, number):
        if number == 2:
            raise Killed
        return real(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_train", dies)
        with pytest.raises(Killed):
            train_fold(fold_case.config, fold_case.files, tmp_path / "work", tmp_path / "out", "c")
    rows = fold_case.files.folds.read_text().splitlines()
    swapped = [rows[0], *(row.replace("train", "?").replace("test", "train").replace("?", "test") for row in rows[1:])]
    fold_case.files.folds.write_text("\n".join(swapped) + "\n")
    train_fold(fold_case.config, fold_case.files, tmp_path / "work", tmp_path / "out", "c")
    train_fold(fold_case.config, fold_case.files, tmp_path / "clean", tmp_path / "expected", "c")
    assert json.loads((tmp_path / "out" / "run.json").read_text())["interruptions"] == 0
    found, expected = (load_file(tmp_path / name / "model.safetensors") for name in ("out", "expected"))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_weights_that_do_not_fit_or_are_cut_off_are_named(fold_case, tmp_path):
    inputs = load_fold(fold_case.config, fold_case.files)
    path = tmp_path / "model.safetensors"
    write_weights(path, {**inputs.model.state_dict(), "image.pool.values.bias": torch.zeros(3)}, {})
    with pytest.raises(InputError, match=r"image\.pool\.values\.bias"):
        load_weights(inputs.model, path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read"):
        load_weights(inputs.model, path)


def test_the_rate_falls_and_training_stops_when_validation_stands_still(fold_case, tmp_path, monkeypatch):
    monkeypatch.setattr("lile.training.fold._validation", lambda *args: lambda: {"Rsum": 50.0})
    config = json.loads(json.dumps(fold_case.config))
    settings = {"epochs": 20, "patience": 4, "plateau": {"patience": 1, "factor": 0.5}, "learning_rate": 0.01}
    config["model_config"]["training"] |= settings
    train_fold(config, fold_case.files, tmp_path / "work", tmp_path / "out", "c")
    history = [json.loads(line) for line in (tmp_path / "out" / "history.jsonl").read_text().splitlines()]
    assert [entry["best"] for entry in history] == [True, False, False, False, False]
    assert [entry["learning_rate"] for entry in history] == [0.01, 0.01, 0.01, 0.005, 0.005]
    assert all(entry["seconds"] > 0 and entry["time_unix"] > 1.7e9 for entry in history)


@pytest.mark.slow
def test_a_real_sigkill_in_mid_training_costs_nothing_but_time(fold_case, tmp_path, project_root):
    config = json.loads(json.dumps(fold_case.config))
    config["model_config"]["training"]["epochs"] = 12
    config["model_config"]["training"]["patience"] = 12
    files, script = fold_case.files, project_root / "workflow" / "scripts" / "train_fold.py"

    def command(name):
        return [
            sys.executable, str(script), "--config-json", json.dumps(config),
            "--images-store", str(files.images_store[0]), "--texts-store", str(files.texts_store[0]),
            "--images", str(files.images), "--descriptions", str(files.descriptions), "--folds", str(files.folds),
            "--progress", str(tmp_path / name / "work"),
            "--out-dir", str(tmp_path / name / "out"),
        ]  # fmt: skip

    victim = subprocess.Popen(command("killed"), stderr=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while _epochs_done(tmp_path / "killed" / "work") < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    assert not (tmp_path / "killed" / "out" / "model.safetensors").exists()
    for name in ("killed", "whole"):
        subprocess.run(command(name), check=True, capture_output=True)
    whole, killed = ((tmp_path / name / "out" / "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed


def test_the_first_steps_take_all_negatives_and_the_rest_the_hardest(fold_case, tmp_path, monkeypatch):
    modes = []

    def noted(scores, negatives, margin, mode, reduction):
        modes.append(mode)
        return triplet_loss(scores, negatives, margin, mode, reduction)

    monkeypatch.setattr(loop, "triplet_loss", noted)
    config = json.loads(json.dumps(fold_case.config))
    config["model_config"]["loss"] = {"warmup_steps": 5}
    train_fold(config, fold_case.files, tmp_path / "work", tmp_path / "out", "c")
    assert modes == ["mean"] * 5 + ["hardest"] * 7  # three epochs of four batches


def test_every_parameter_learns(fold_case):
    inputs = load_fold(fold_case.config, fold_case.files)
    batch = _one_batch(inputs)
    scores, _ = inputs.model(batch.image_tokens, batch.image_keep, batch.text_tokens, batch.text_keep)
    scores.square().sum().backward()
    dead = [n for n, p in inputs.model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A bias on attention keys shifts all logits of a query alike, so the softmax takes its gradient away.
    assert [name for name in dead if not name.endswith("key.bias")] == []


def test_padding_does_not_change_a_score(fold_case):
    inputs = load_fold(fold_case.config, fold_case.files)
    inputs.model.eval()
    batch = _one_batch(inputs)
    scores = inputs.model(batch.image_tokens, batch.image_keep, batch.text_tokens, batch.text_keep)
    longer = torch.nn.functional.pad(batch.text_tokens, (0, 0, 0, 4), value=7.0)
    keep = torch.nn.functional.pad(batch.text_keep, (0, 4))
    padded = inputs.model(batch.image_tokens, batch.image_keep, longer, keep)
    torch.testing.assert_close(padded, scores, rtol=0, atol=1e-5)


def test_a_store_made_by_other_weights_is_refused(fold_case, tmp_path):
    config = {**fold_case.config, "seed": fold_case.config["seed"] + 1}
    with pytest.raises(InputError, match=r"images\.h5"):
        train_fold(config, fold_case.files, tmp_path / "work", tmp_path / "out", "c")
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_not_finite_stops_the_run(fold_case, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "triplet_loss", lambda *args: triplet_loss(*args) * float("nan"))
    with pytest.raises(InputError, match="learning_rate"):
        train_fold(fold_case.config, fold_case.files, tmp_path / "work", tmp_path / "out", "c")


def _epochs_done(work) -> int:
    return max((len(path.read_text().splitlines()) for path in work.glob("*/history.jsonl")), default=0)


def _one_batch(inputs) -> Batch:
    pairs = pair_set(inputs.descriptions, inputs.images["image_id"].tolist()[:6], inputs.image_store, inputs.text_store)
    return next(batches(pairs, inputs.image_store, inputs.text_store, 16, 0, torch.device("cpu")))


def test_what_a_killed_write_left_does_not_spoil_the_end(tmp_path):
    store = Progress(tmp_path / "made")
    store.folder.mkdir()
    store.checkpoint.write_bytes(b"")
    (tmp_path / "made" / ".last.pt.123.part").write_bytes(b"half a checkpoint")
    store.remove()
    assert not (tmp_path / "made").exists()
