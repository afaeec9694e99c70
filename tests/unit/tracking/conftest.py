"""Run folders as training and evaluation leave them, and an empty MLflow database made once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lile.tracking.stores import open_store, settings

STARTED = 1_700_000_000.25
FIGURES = ("i2t/R1", "i2t/R5", "i2t/R10", "t2i/R1", "t2i/R5", "t2i/R10", "Rsum")


def epoch_of(fold: int, epoch: int) -> dict:
    """One line of a history: every number tells fold and epoch apart."""
    return {
        "epoch": epoch,
        "time_unix": STARTED + 1000 * fold + 10.5 * epoch,
        "seconds": 10.5,
        "loss": 2.0 / epoch + fold,
        "learning_rate": 1e-4,
        "alpha": 0.5 + epoch / 1000,
        "pairs_per_second": 123.0,
        "validation": {name: fold + epoch + place / 10 for place, name in enumerate(FIGURES)},
        "best": epoch == 20,
    }


def run_of(fold: int, epochs: int) -> dict:
    """A ``run.json``."""
    return {
        "dataset": "demo",
        "model": "lile",
        "fold": fold,
        "preset": "scaled",
        "config": {"maps": 4, "training": {"learning_rate": 1e-4, "epochs": epochs}, "note": "x" * 7000},
        "config_digest": f"c0ffee{fold}",
        "code": "abcdef",
        "seed": 0,
        "git_commit": "0" * 40,
        "git_dirty": False,
        "versions": {"python": "3.11", "torch": "2.0"},
        "device": "cpu",
        "host": {"hostname": "here", "cpus": 2},
        "started_unix": STARTED + 1000 * fold,
        "ended_unix": STARTED + 1000 * fold + 500,
        "epochs": epochs,
        "best_epoch": 20 - fold,
        "parameters": 12345,
        "encoders": {"image": {"origin": "random"}, "text": {"origin": "pretrained"}},
        "inputs": {"results/demo/data/folds.csv": "f" * 64},
        "interruptions": 0,
    }


def metrics_of(fold: int) -> dict:
    """A ``metrics.json``."""
    way = {"R1": 10.0 + fold, "R5": 20.0, "R10": 30.0, "MedR": 7.0, "MeanR": 9.0, "chance": {"R1": 0.5}}
    protocol = {"i2t": way, "t2i": way, "Rsum": 120.0 + 2 * fold, "chance_Rsum": 12.0}
    return {"fold": fold, "images": 50, "texts": 80, "protocols": {"own": protocol, "group": protocol}}


def write_fold(folder: Path, fold: int, epochs: int = 30) -> None:
    """Write one fold's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(run_of(fold, epochs)))
    lines = [json.dumps(epoch_of(fold, epoch)) for epoch in range(1, epochs + 1)]
    (folder / "history.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "metrics.json").write_text(json.dumps(metrics_of(fold)))
    (folder / "model.safetensors").write_bytes(b"weights of fold %d" % fold)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables take seconds to make: once for all tests, by our own code."""
    results = tmp_path_factory.mktemp("template")
    with settings(), open_store(f"sqlite:///{results.resolve()}/mlflow/mlflow.db", results, "other"):
        pass
    return results / "mlflow" / "mlflow.db"


@pytest.fixture
def results(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder (its name has a space) with a made, empty database; no address in the environment."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my results"
    (folder / "mlflow").mkdir(parents=True)
    shutil.copy(empty_database, folder / "mlflow" / "mlflow.db")
    return folder


@pytest.fixture
def make_folds(results: Path) -> Callable[..., list[Path]]:
    """A function that writes folds 0 .. count - 1 and returns their folders."""

    def make(count: int, epochs: int = 30) -> list[Path]:
        folders = [results / "demo" / "lile" / f"fold-{fold}" for fold in range(count)]
        for fold, folder in enumerate(folders):
            write_fold(folder, fold, epochs)
        return folders

    return make
