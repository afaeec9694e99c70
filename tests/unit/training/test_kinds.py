"""Other rows than LILE: words resume, ensembles average, stored vectors need no training, rates and tokens fall."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lile.errors import InputError
from lile.evaluation.fold import held_out
from lile.evaluation.grid import Block
from lile.evaluation.inputs import load_fold
from lile.models.config import ModelConfig
from lile.training import loop
from lile.training.combine import combine_fold
from lile.training.fold import train_fold
from lile.training.loop import thinned
from lile.training.schedule import Schedule, optimizer_of

WORDS = {"source": "words", "word_width": 6, "min_count": 1}
TRAINING = {"batch_size": 8, "epochs": 2, "learning_rate": 1e-2}
VSE = {"image": {"pooling": "mean"}, "text": {**WORDS, "recurrent": "forward", "pooling": "last"}}
TOKENS = {"image": {"pooling": "none"}, "text": {**WORDS, "recurrent": "both", "pooling": "none"}}
SCAN = {**TOKENS, "steps": 1, "matching": {"queries": "text", "aggregate": "lse", "direct": "none"}}
IMRAM = {**TOKENS, "steps": 3, "matching": {"similarity": "dot", "direct": "none"}}


def row(fold_case, name, *blocks):
    config = json.loads(json.dumps(fold_case.config))
    block = {"preset": "baseline", "width": 8, "matching": {"kind": "dot"}, "training": TRAINING}
    for more in blocks:
        block |= more
    return {**config, "model": name, "model_config": block, "members": [block]}


def train(config, files, folder, name):
    train_fold(config, files, folder / f"work-{name}", folder / name, "c0de")
    return folder / name


def test_a_killed_row_of_words_with_tokens_left_out_resumes_with_the_same_bytes(fold_case, tmp_path, monkeypatch):
    config = row(fold_case, "vse", VSE, {"training": {**TRAINING, "epochs": 3, "drop_tokens": 0.3}})
    whole = train(config, fold_case.files, tmp_path, "whole")
    real = loop.Trainer._train

    def dies(self, number):
        if number == 2:
            raise KeyboardInterrupt
        return real(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_train", dies)
        with pytest.raises(KeyboardInterrupt):
            train(config, fold_case.files, tmp_path, "resumed")
    resumed = train(config, fold_case.files, tmp_path, "resumed")
    expected, found = (load_file(folder / "model.safetensors") for folder in (whole, resumed))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_vocabulary_knows_training_captions_alone(fold_case):
    inputs = load_fold(row(fold_case, "vse", VSE), fold_case.files)
    words = inputs.text_store.vocabulary.words
    assert {"text", "0", "15"} <= set(words)  # images 0 to 15 train, and their texts are "text <n> <k>"
    assert not {"16", "19", "20", "23"} & set(words)


def test_an_ensemble_scores_the_mean_of_its_members(fold_case, tmp_path):
    configs = [row(fold_case, "scan", SCAN), row(fold_case, "imram", IMRAM)]
    outs = [train(config, fold_case.files, tmp_path, config["model"]) for config in configs]
    weights = [out / "model.safetensors" for out in outs]
    joined = {**configs[0], "model": "both", "members": [config["model_config"] for config in configs]}

    def scores(config, own):
        part = held_out(config, fold_case.files, own, tmp_path / "work" / config["model"])
        part.score()
        return part.store.read(Block(0, 0, slice(0, 4), slice(0, 8)))

    each = [scores(config, [path]) for config, path in zip(configs, weights, strict=True)]
    np.testing.assert_allclose(scores(joined, weights), np.mean(each, axis=0), rtol=1e-6)
    combine_fold({**joined, "members": ["scan", "imram"]}, [out / "run.json" for out in outs], tmp_path / "both", "c")
    record = json.loads((tmp_path / "both" / "run.json").read_text())
    assert set(record["config"]["members"]) == {"scan", "imram"}
    assert (tmp_path / "both" / "history.jsonl").read_text() == ""


def test_an_ensemble_of_rows_that_read_other_words_is_refused(fold_case, tmp_path):
    few = {"text": {**TOKENS["text"], "min_count": 3}}
    configs = [row(fold_case, "scan", SCAN), row(fold_case, "imram", IMRAM, few)]
    runs = [train(config, fold_case.files, tmp_path, config["model"]) / "run.json" for config in configs]
    with pytest.raises(InputError, match="other encoders or vocabularies"):
        combine_fold({**fold_case.config, "model": "both", "members": ["scan", "imram"]}, runs, tmp_path, "c")


def test_stored_vectors_of_unlike_width_are_refused_with_both(fold_case, tmp_path):
    given = {"image": {"pooling": "given"}, "text": {"pooling": "given"}, "matching": {"kind": "max"}}
    config = row(fold_case, "given", given, {"training": {"epochs": 0}})
    with pytest.raises(InputError, match="width 192, texts of 128"):
        train(config, fold_case.files, tmp_path, "given")


def test_rates_fall_by_the_step_or_when_validation_stands_still():
    weight = torch.nn.Parameter(torch.zeros(1))

    def rates(settings, rsums):
        config = ModelConfig.from_dict({"training": {"learning_rate": 1.0, **settings}}).training
        optimizer = optimizer_of([weight], config)
        schedule, seen = Schedule(optimizer, config), []
        for rsum in rsums:
            optimizer.step()
            schedule.step(rsum)
            seen.append(optimizer.param_groups[0]["lr"])
        return seen

    assert rates({"schedule": "step", "step": {"epochs": 2, "factor": 0.5}}, [1, 2, 3, 4]) == [1.0, 0.5, 0.5, 0.25]
    rising = rates({"plateau": {"patience": 0, "factor": 0.5}}, [10, 20, 30, 30, 20])
    assert rising == [1.0, 1.0, 1.0, 0.5, 0.25]


def test_tokens_left_out_leave_one_and_the_share_asked_for():
    torch.manual_seed(0)
    keep = torch.ones(2000, 10, dtype=torch.bool)
    keep[::2, 5:] = False
    thin = thinned(keep, 0.4)
    assert thin[:, 0].all()
    assert not (thin & ~keep).any()
    assert thin[1::2, 1:].float().mean().item() == pytest.approx(0.6, abs=0.02)
    assert thinned(keep, 0.0) is keep
