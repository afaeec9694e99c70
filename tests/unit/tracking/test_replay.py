"""MLflow says what the files say, once."""

from __future__ import annotations

import json
import logging
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lile.errors import InputError
from lile.tracking.replay import over_folds, track
from lile.tracking.stores import local_uri


@pytest.fixture
def client(results):
    """MLflow's own client on the project's database: the judge of what is there."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=local_uri(results))


def live_runs(client, receipt):
    return client.search_runs([receipt["experiment_id"]])


def test_five_folds_of_thirty_epochs_and_a_second_pass_that_adds_nothing(results, make_folds, client):
    folders = make_folds(5)
    first = track("demo", "lile", folders, None, results)
    assert (first["added"], first["existing"], first["pending"]) == (5, 0, False)
    assert first["uri"] == f"sqlite:///{results.resolve()}/mlflow/mlflow.db"
    assert sorted(first["child_run_ids"]) == ["0", "1", "2", "3", "4"]
    assert len(live_runs(client, first)) == 6
    before = (results / "mlflow" / "mlflow.db").read_bytes()

    started = time.perf_counter()
    second = track("demo", "lile", folders, None, results)
    assert second == {**first, "added": 0, "existing": 5}
    assert (results / "mlflow" / "mlflow.db").read_bytes() == before
    assert time.perf_counter() - started < 30
    assert not (results.parent / "mlruns").exists()


def test_values_times_and_tags_are_those_of_the_files(results, make_folds, client):
    folders = make_folds(2)
    receipt = track("demo", "lile", folders, None, results)
    epochs = [json.loads(line) for line in (folders[1] / "history.jsonl").read_text().splitlines()]
    run = client.get_run(receipt["child_run_ids"]["1"])

    for name, value_of in {
        "loss": lambda epoch: epoch["loss"],
        "validation/i2t/R1": lambda epoch: epoch["validation"]["i2t/R1"],
        "validation/Rsum": lambda epoch: epoch["validation"]["Rsum"],
    }.items():
        told = sorted(client.get_metric_history(run.info.run_id, name), key=lambda metric: metric.step)
        assert [(m.step, m.value, m.timestamp) for m in told] == [
            (epoch["epoch"], value_of(epoch), round(epoch["time_unix"] * 1000)) for epoch in epochs
        ]
    assert run.data.metrics["test/own/i2t/R1"] == 11.0
    assert run.data.metrics["test/group/Rsum"] == 122.0
    assert not {"best", "epoch", "time_unix"} & set(run.data.metrics)
    record = json.loads((folders[1] / "run.json").read_text())
    assert (run.info.start_time, run.info.end_time) == (record["started_unix"] * 1000, record["ended_unix"] * 1000)
    assert run.info.status == "FINISHED"
    assert run.data.params["training.learning_rate"] == "0.0001"
    assert len(run.data.params["note"]) == 6000
    tags = run.data.tags
    assert tags["mlflow.parentRunId"] == receipt["parent_run_id"]
    assert tags["mlflow.source.git.commit"] == "0" * 40
    assert tags["lile.host.hostname"] == "here"
    assert tags["lile.encoders.image.origin"] == "random"
    assert tags["lile.weights"].endswith("fold-1/model.safetensors")
    assert len(tags["lile.weights_sha256"]) == 64


def test_the_parent_has_mean_and_deviation_and_the_config(results, make_folds, client):
    receipt = track("demo", "lile", make_folds(3, epochs=2), None, results)
    parent = client.get_run(receipt["parent_run_id"])
    assert parent.data.metrics["test/own/i2t/R1/mean"] == 11.0
    assert parent.data.metrics["test/own/i2t/R1/std"] == statistics.stdev([10.0, 11.0, 12.0])
    assert parent.info.end_time > parent.info.start_time
    assert parent.data.params["seed"] == "0"
    assert "best_epoch" not in parent.data.params, "the folds' best epochs differ: the parent has none"
    assert parent.data.params["folds"] == "3"
    files = [path for path in (results / "mlflow" / "artifacts").rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == sorted(
        ["config.json", *["run.json", "history.jsonl", "metrics.json"] * 3]
    )
    local = client.download_artifacts(receipt["parent_run_id"], "config.json")
    assert json.loads(Path(local).read_text())["maps"] == 4


def test_a_changed_fold_replaces_its_child_and_nothing_else(results, make_folds, client):
    folders = make_folds(3, epochs=2)
    first = track("demo", "lile", folders, None, results)
    metrics = json.loads((folders[1] / "metrics.json").read_text())
    metrics["protocols"]["own"]["i2t"]["R1"] = 99.0
    (folders[1] / "metrics.json").write_text(json.dumps(metrics))

    second = track("demo", "lile", folders, None, results)
    assert (second["added"], second["existing"]) == (1, 2)
    assert len(live_runs(client, second)) == 4
    for fold in "02":
        assert second["child_run_ids"][fold] == first["child_run_ids"][fold]
    children = client.search_runs([second["experiment_id"]], f"tags.`mlflow.parentRunId` = '{second['parent_run_id']}'")
    assert {run.info.run_id for run in children} == set(second["child_run_ids"].values())
    mean = client.get_run(second["parent_run_id"]).data.metrics["test/own/i2t/R1/mean"]
    assert mean == pytest.approx((10 + 99 + 12) / 3)


def test_another_config_is_another_parent_and_the_old_one_stays(results, make_folds, client):
    folders = make_folds(2, epochs=2)
    first = track("demo", "lile", folders, None, results)
    for folder in folders:
        run = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**run, "config": {"maps": 8}}))
    second = track("demo", "lile", folders, None, results)
    assert second["added"] == 2
    assert second["parent_run_id"] != first["parent_run_id"]
    assert len(live_runs(client, second)) == 6


def test_fewer_folds_of_the_same_recipe_are_the_same_family(results, make_folds, client):
    folders = make_folds(3, epochs=2)
    track("demo", "lile", folders, None, results)
    receipt = track("demo", "lile", folders[:2], None, results)
    assert (receipt["added"], receipt["existing"]) == (0, 2)
    assert len(live_runs(client, receipt)) == 3


@pytest.mark.parametrize("changed_meanwhile", [False, True])
def test_a_killed_replay_is_made_whole(results, make_folds, client, monkeypatch, changed_meanwhile):
    from lile.tracking import replay

    folders = make_folds(3, epochs=2)
    write_child = replay._write_child
    log = replay._log

    def killed_in_fold_1(store, fold, parent):
        if fold.fold == "1":
            monkeypatch.setattr(replay, "_log", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        return write_child(store, fold, parent)

    monkeypatch.setattr(replay, "_write_child", killed_in_fold_1)
    with pytest.raises(KeyboardInterrupt):
        track("demo", "lile", folders, None, results)
    experiment = client.get_experiment_by_name("lile/demo").experiment_id
    statuses = sorted(run.info.status for run in client.search_runs([experiment]))
    assert statuses == ["FINISHED", "RUNNING", "RUNNING"]

    monkeypatch.setattr(replay, "_write_child", write_child)
    monkeypatch.setattr(replay, "_log", log)
    if changed_meanwhile:
        with (folders[1] / "history.jsonl").open("a") as history:
            history.write(json.dumps({"epoch": 3, "time_unix": 1.7e9, "loss": 0.5}) + "\n")
    receipt = track("demo", "lile", folders, None, results)
    assert (receipt["added"], receipt["existing"]) == (2, 1)
    runs = live_runs(client, receipt)
    assert [run.info.status for run in runs] == ["FINISHED"] * 4
    parents = {run.data.tags.get("mlflow.parentRunId") for run in runs}
    assert parents == {None, receipt["parent_run_id"]}


@pytest.fixture
def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("by_environment", [False, True])
def test_a_server_that_is_down_costs_seconds_and_the_runs_are_kept(
    results, make_folds, client, closed_port, caplog, monkeypatch, by_environment
):
    folders = make_folds(2, epochs=2)
    uri = f"http://someone:secret@127.0.0.1:{closed_port}"
    if by_environment:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    started = time.perf_counter()
    with caplog.at_level(logging.WARNING, logger="lile"):
        receipt = track("demo", "lile", folders, None if by_environment else uri, results)
    assert time.perf_counter() - started < 30
    assert receipt["pending"] is True
    assert receipt["added"] == 2
    assert receipt["wanted_uri"] == f"http://127.0.0.1:{closed_port}"
    assert receipt["uri"] == local_uri(results)
    assert len(live_runs(client, receipt)) == 3
    assert "PENDING" in caplog.text
    assert "mlflow.json" in caplog.text
    assert "secret" not in json.dumps(receipt) + caplog.text


def test_a_server_that_answers_nonsense_is_pending_too(results, make_folds):
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Teapot(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(418)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Teapot) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        receipt = track("demo", "lile", make_folds(1, epochs=1), f"http://127.0.0.1:{server.server_port}", results)
        server.shutdown()
    assert receipt["pending"] is True
    assert "MlflowException" in receipt["reason"]


def test_a_local_address_that_cannot_be_used_is_one_clear_line(results, make_folds):
    with pytest.raises(InputError, match=r"tracking.uri file:.*MLflow cannot use it"):
        track("demo", "lile", make_folds(1, epochs=1), f"file://{results}/mlruns", results)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "metrics.json").unlink(), "metrics.json: is missing"),
        (lambda folder: (folder / "run.json").write_text("{"), "run.json: is not JSON"),
        (lambda folder: (folder / "run.json").write_text("[]"), "holds a list, wanted an object"),
        (lambda folder: (folder / "run.json").write_text("{}"), "lacks"),
        (lambda folder: (folder / "history.jsonl").write_text('{"epoch": 1}\n'), "line 1: lacks 'time_unix'"),
    ],
)
def test_bad_run_files_are_named(results, make_folds, spoil, words):
    folders = make_folds(1, epochs=1)
    spoil(folders[0])
    with pytest.raises(InputError, match=words):
        track("demo", "lile", folders, None, results)


def test_a_copied_folder_is_refused(results, make_folds):
    with pytest.raises(InputError, match=r"is a run of demo/lile, wanted demo/imram"):
        track("demo", "imram", make_folds(1, epochs=1), None, results)


def test_one_fold_has_a_mean_and_no_deviation():
    assert over_folds([{"test/Rsum": 3.0}]) == {"test/Rsum/mean": 3.0}


@pytest.mark.slow
def test_the_script_writes_the_receipt(results, make_folds, project_root):
    make_folds(2, epochs=2)
    out = results / "demo" / "lile" / "mlflow.json"
    config = {"dataset": "demo", "model": "lile", "folds": 2, "tracking": {"uri": None}}
    script = [sys.executable, str(project_root / "workflow" / "scripts" / "track.py")]
    words = ["--config-json", json.dumps(config), "--results", str(results), "--out", str(out)]
    done = subprocess.run([*script, *words, "--log", str(results / "track.log")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text())["added"] == 2
    config["folds"] = 3
    words[1] = json.dumps(config)
    done = subprocess.run([*script, *words], capture_output=True, text=True)
    assert done.returncode == 1
    assert "fold-2" in done.stderr
    assert "Traceback" not in done.stderr
