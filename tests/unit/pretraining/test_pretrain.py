"""The stage: it learns, a killed run ends with the same bytes, and what it writes is an encoder with a record."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image

from lile.errors import InputError
from lile.features.image_encoder import load_image_encoder
from lile.features.mobilenet import ARCHITECTURE, hub_config, register
from lile.files import sha256_of, write_json
from lile.pretraining.loop import Pretrainer
from lile.pretraining.run import pretrain

FILES = {
    "config.json", "model.safetensors", "record.json", "history.jsonl", "held_out.csv", "confusion.csv",
    "confusion.png", "report.csv",
}  # fmt: skip


class Killed(BaseException):
    """A kill, as far as Python can make one."""


def run(job: dict[str, Any], place: Path, **changed: Any) -> dict[str, Any]:
    """Pretrain into ``place/out``; keys of the block may be changed. Return the record."""
    job = deepcopy(job)
    for key, value in changed.items():
        block = job["pretraining"]
        block[key] = {**block[key], **value} if isinstance(value, dict) else value
    pretrain(job, place / "work", place / "out", threads=1, code="c0de")
    return json.loads((place / "out" / "record.json").read_text())


def history(place: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (place / "out" / "history.jsonl").read_text().splitlines()]


def tiny_mobilenet(folder: Path) -> Path:
    """A folder of random MobileNet weights, as conversion makes one."""
    register()
    torch.manual_seed(0)
    model = timm.create_model(ARCHITECTURE, pretrained_cfg=hub_config()["pretrained_cfg"])
    from safetensors.torch import save_file

    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors", {"format": "pt"})
    write_json(folder / "config.json", hub_config())
    return folder


def test_it_learns_what_can_be_told_apart(job, tmp_path):
    record = run(job, tmp_path, training={"epochs": 6})
    losses = [entry["loss"] for entry in history(tmp_path)]
    assert losses[-1] < 0.6 * losses[0]
    assert record["held_out"]["balanced_accuracy"] == 1.0
    assert record["held_out"]["confusion"] == [[4, 0, 0], [0, 4, 0], [0, 0, 4]]
    interval = record["held_out"]["accuracy_interval"]
    assert interval["low"] < 0.5, "three slides, all right, are no certainty"
    assert interval["method"] == "Wilson, 3 groups"
    assert record["data"]["counts"] == {
        part: dict.fromkeys(["gland", "nerve", "stroma"], count)
        for part, count in (("train", 12), ("validation", 4), ("held_out", 4))
    }
    assert not (tmp_path / "work").exists() or not list((tmp_path / "work").rglob("*.pt"))


def test_what_it_writes(job, tmp_path):
    record = run(job, tmp_path)
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == FILES
    assert record["weights_sha256"] == sha256_of(out / "model.safetensors")
    assert record["data"]["divided_by"] == "group"
    assert "not another training" in record["says"]
    assert record["code"] == "c0de"
    held_out = pd.read_csv(out / "held_out.csv")
    assert len(held_out) == 12
    right = (held_out["label"] == held_out["predicted"]).mean()
    assert right == pytest.approx(record["held_out"]["accuracy"], abs=1e-6)
    assert held_out["probability"].between(1 / 3, 1).all()
    confusion = pd.read_csv(out / "confusion.csv", index_col="is")
    assert confusion.to_numpy().tolist() == record["held_out"]["confusion"]
    assert list(confusion.columns) == record["data"]["classes"]
    with Image.open(out / "confusion.png") as picture:
        assert min(picture.size) > 400
    assert [entry["epoch"] for entry in history(tmp_path)] == [1, 2]
    assert {"accuracy", "balanced_accuracy", "balanced_likelihood"} == set(history(tmp_path)[0]["validation"])


def test_an_encoder_block_loads_what_it_wrote(job, tmp_path):
    run(job, tmp_path)
    block = {"weights": str(tmp_path / "out"), "image_size_px": 32, "trainable_blocks": 2}
    encoder = load_image_encoder(block, seed=0)
    assert encoder.about()["origin"] == "pretrained here on toy (60 pictures in 3 classes; start: random)"
    assert encoder.transform.facts()["mean"] == [0.5, 0.5, 0.5]
    started = load_image_encoder(
        {"weights": "random", "config": job["pretraining"]["config"], "image_size_px": 32, "trainable_blocks": 2},
        seed=job["seed"],
    )
    pixels = torch.zeros(1, 3, 32, 32)
    assert encoder.width == started.width
    assert not torch.allclose(encoder.stem(pixels), started.stem(pixels)), "training changed the blocks"
    assert load_image_encoder({**block, "image_size_px": 64}, seed=0).width == encoder.width, "and at another size"


@pytest.mark.parametrize("kind", ["vit", "mobilenet"])
def test_a_killed_run_ends_with_the_same_bytes(job, tmp_path, monkeypatch, kind):
    if kind == "mobilenet":
        start = str(tiny_mobilenet(tmp_path / "mobilenet"))
        job["pretraining"] |= {"start": start, "config": None, "freeze_blocks": 3}
    job["pretraining"]["training"] |= {"epochs": 3, "patience": 3, "class_balance": "balanced_sampling"}
    run(job, tmp_path / "whole")
    step, steps = Pretrainer._descend, []

    def dying(self: Pretrainer, loss: torch.Tensor) -> torch.Tensor:
        steps.append(1)
        if len(steps) == 5:  # in the middle of the second epoch of three steps each
            raise Killed
        return step(self, loss)

    monkeypatch.setattr(Pretrainer, "_descend", dying)
    with pytest.raises(Killed):
        run(job, tmp_path / "killed")
    assert not (tmp_path / "killed" / "out").exists(), "nothing half-written"
    monkeypatch.setattr(Pretrainer, "_descend", step)
    record = run(job, tmp_path / "killed")
    assert record["interruptions"] == 1
    for name in ("model.safetensors", "config.json", "held_out.csv", "confusion.csv", "report.csv"):
        assert (tmp_path / "whole/out" / name).read_bytes() == (tmp_path / "killed/out" / name).read_bytes(), name
    kept = ("loss", "validation", "best", "learning_rate")
    told = [[{key: entry[key] for key in kept} for entry in history(tmp_path / place)] for place in ("whole", "killed")]
    assert told[0] == told[1]


def test_it_does_not_resume_on_other_pictures(job, tmp_path, monkeypatch, patches):
    step = Pretrainer._descend
    monkeypatch.setattr(Pretrainer, "_epoch", _killed_after_one(Pretrainer._epoch))
    with pytest.raises(Killed):
        run(job, tmp_path)
    monkeypatch.undo()
    assert Pretrainer._descend is step
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(patches / "gland" / "s9_0.png")
    assert run(job, tmp_path)["interruptions"] == 0


def _killed_after_one(epoch: Any) -> Any:
    def once(self: Pretrainer, state: Any) -> None:
        if state.epoch == 1:
            raise Killed
        epoch(self, state)

    return once


@pytest.mark.slow
def test_decoding_ahead_changes_nothing(job, tmp_path, monkeypatch):
    run(job, tmp_path / "here")
    monkeypatch.setattr("lile.pretraining.run.torch.set_num_threads", lambda threads: None)
    pretrain(job, tmp_path / "work", tmp_path / "out", threads=4, code="c0de")  # one process decodes
    assert (tmp_path / "out/model.safetensors").read_bytes() == (tmp_path / "here/out/model.safetensors").read_bytes()


def test_without_patience_the_last_epoch_is_kept_and_no_part_set_aside(job, tmp_path):
    record = run(job, tmp_path, training={"patience": None, "epochs": 3})
    assert record["best_epoch"] == record["epochs"] == 3
    assert set(record["data"]["counts"]) == {"train", "validation", "held_out"}
    assert record["data"]["counts"]["validation"] == {}
    assert history(tmp_path)[0]["validation"] == {}


def test_it_stops_early_and_keeps_the_best(job, tmp_path, monkeypatch):
    figures = iter([0.5, 0.9, 0.8, 0.7, 0.6])
    monkeypatch.setattr("lile.pretraining.run.balanced_likelihood", lambda found, labels: next(figures))
    record = run(job, tmp_path, training={"patience": 2, "epochs": 5})
    assert (record["best_epoch"], record["epochs"]) == (2, 4)


def test_frozen_blocks_keep_their_weights_and_their_statistics(job, tmp_path):
    from safetensors.torch import load_file

    start = tiny_mobilenet(tmp_path / "mobilenet")
    run(job, tmp_path, start=str(start), config=None, freeze_blocks=3)
    before, after = load_file(start / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    same = {name for name, tensor in before.items() if torch.equal(tensor, after[name])}
    assert {"conv_stem.weight", "bn1.running_mean", "blocks.1.1.conv_pw.weight", "blocks.1.1.bn2.running_var"} <= same
    assert not same & {"blocks.2.0.conv_pw.weight", "blocks.4.1.bn2.running_mean", "classifier.weight"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"freeze_blocks": 20}, "freeze_blocks=20, but .* has 13 blocks"),
        ({"start": "nowhere/at/all"}, "nowhere/at/all: no such folder of weights"),
    ],
)
def test_what_cannot_be_trained_ends_before_any_epoch(job, tmp_path, changed, words):
    block = {"start": str(tiny_mobilenet(tmp_path / "mobilenet")), "config": None, **changed}
    with pytest.raises(InputError, match=words):
        run(job, tmp_path, **block)
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_no_number_is_said(job, tmp_path):
    with pytest.raises(InputError, match=r"toy: the loss of epoch \d is nan; lower training.learning_rate"):
        run(job, tmp_path, training={"learning_rate": 1e30, "clip_norm": 1e30, "epochs": 4})


def test_a_random_split_is_said_in_the_record(job, tmp_path):
    record = run(job, tmp_path, data={"group_pattern": None, "note": "Made up."})
    assert record["data"]["divided_by"] == "random"
    assert any("no accuracy here is a result" in said for said in record["data"]["warnings"])
    assert record["data"]["note"] == "Made up."
    assert record["held_out"]["accuracy_interval"]["method"] == "Wilson, 12 pictures"


def test_a_broken_picture_is_left_out_and_listed(job, tmp_path, patches):
    (patches / "gland" / "s0_0.png").write_bytes(b"no picture")
    record = run(job, tmp_path)
    assert record["data"]["left_out"] == {"image_unreadable": 1}
    assert record["data"]["images"] == 59
    report = pd.read_csv(tmp_path / "out" / "report.csv")
    assert report[["name", "status", "reason"]].to_numpy().tolist() == [
        ["gland/s0_0.png", "dropped", "image_unreadable"]
    ]


def test_two_at_once_are_refused(job, tmp_path):
    from lile.lock import work_lock

    with work_lock(tmp_path / "work" / "lock"), pytest.raises(InputError, match="being worked on"):
        run(job, tmp_path)


def test_weighted_loss_trains_a_rare_class(job, tmp_path, patches):
    for path in sorted((patches / "nerve").glob("s*_[123].png")):
        path.unlink()
    shutil.copytree(patches / "nerve", patches / "nerve" / "more")
    record = run(job, tmp_path, data={"min_images": 3}, training={"epochs": 6, "class_balance": "weighted_loss"})
    assert record["data"]["counts"]["train"]["nerve"] < record["data"]["counts"]["train"]["gland"]
    assert record["held_out"]["recalls"]["nerve"] == 1.0
