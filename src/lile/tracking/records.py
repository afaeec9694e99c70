"""One fold's files as MLflow wants them: names, numbers and texts within its limits. Imports no mlflow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lile.errors import InputError
from lile.files import digest_of, sha256_of

MAX_KEY = 250
MAX_PARAM = 6000
MAX_TAG = 5000
RECORD_FILES = ("run.json", "history.jsonl", "metrics.json")
_NOT_IN_A_NAME = re.compile(r"[^\w\-. :/]")
_RUN_KEYS = ("dataset", "model", "fold", "config", "started_unix", "ended_unix")


class Point(NamedTuple):
    """One measured number: a metric's name, its value, when it was measured [ms since 1970] and at which epoch."""

    name: str
    value: float
    time_ms: int
    step: int


@dataclass(frozen=True, kw_only=True)
class FoldRecord:
    """All that MLflow is told of one fold. ``key`` changes with any byte of its three files."""

    folder: Path
    dataset: str
    model: str
    fold: str
    key: str
    recipe: str
    """Names config, encoders, seed and code of the run, but not its fold: the folds of one parent share it."""
    started_ms: int
    ended_ms: int
    config: dict[str, Any]
    params: dict[str, str]
    tags: dict[str, str]
    history: list[Point]
    test: dict[str, float]

    @property
    def points(self) -> list[Point]:
        """Every number of the fold: one point per metric and epoch, then the test metrics at the best epoch."""
        step = int(self.params.get("best_epoch", "0"))
        return [*self.history, *(Point(name, value, self.ended_ms, step) for name, value in self.test.items())]


def read_fold(folder: Path, dataset: str, model: str) -> FoldRecord:
    """Read ``run.json``, ``history.jsonl``, ``metrics.json`` of one fold's folder.

    Args:
        folder: ``results/{dataset}/{model}/fold-{fold}``.
        dataset: the name the run must carry.
        model: the name the run must carry.

    Raises:
        InputError: a file is missing, is not JSON, lacks a key, or belongs to another dataset or model.
    """
    run = _read_json(folder / "run.json")
    _check_run(run, folder / "run.json", dataset, model)
    fold = str(run["fold"])
    digests = {name: sha256_of(folder / name) for name in RECORD_FILES if (folder / name).is_file()}
    return FoldRecord(
        folder=folder,
        dataset=dataset,
        model=model,
        fold=fold,
        key=digest_of([dataset, model, fold, digests]),
        recipe=digest_of([run["config"], *(run.get(name) for name in ("encoders", "seed", "code"))]),
        started_ms=milliseconds(run["started_unix"]),
        ended_ms=milliseconds(run["ended_unix"]),
        config=run["config"],
        params=_params(run),
        tags=_tags(run, folder),
        history=list(_history(folder / "history.jsonl")),
        test=figures_of_test(_read_json(folder / "metrics.json")),
    )


def figures_of_test(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of one ``metrics.json``: ``test/own/i2t/R1``, ``test/group/Rsum``, ``test/images``, ..."""
    sizes = {name: value for name, value in metrics.items() if name not in ("fold", "protocols")}
    return dict(numbers({"test": {**sizes, **metrics.get("protocols", {})}}))


def numbers(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number of a tree with its path, ``a/b/c``; texts, lists, truth values and nulls are no metrics."""
    for name, value in tree.items():
        path = metric_name(f"{prefix}{name}")
        if isinstance(value, Mapping):
            yield from numbers(value, f"{path}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield path, float(value)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a tree's leaves as texts under dotted names, within MLflow's limits; a list is one JSON text."""
    flat: dict[str, str] = {}
    for name, value in tree.items():
        path = _NOT_IN_A_NAME.sub("_", f"{prefix}{name}")[:MAX_KEY]
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{path}."))
        else:
            flat[path] = shortened(value if isinstance(value, str) else json.dumps(value), MAX_PARAM)
    return flat


def metric_name(name: str) -> str:
    """Return a name MLflow takes: ``R@1`` becomes ``R1``, other strange signs ``_``."""
    return _NOT_IN_A_NAME.sub("_", name.replace("@", ""))[:MAX_KEY]


def shortened(text: str, limit: int) -> str:
    """Return ``text``, cut to ``limit`` characters with an ellipsis that shows it."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def milliseconds(seconds: float) -> int:
    """Return MLflow's unit of time, whole milliseconds, from seconds since 1970."""
    return round(seconds * 1000)


def _check_run(run: dict[str, Any], path: Path, dataset: str, model: str) -> None:
    missing = [key for key in _RUN_KEYS if key not in run]
    if missing:
        raise InputError(f"{path}: lacks {missing}; train this fold again")
    if (run["dataset"], run["model"]) != (dataset, model):
        raise InputError(
            f"{path}: is a run of {run['dataset']}/{run['model']}, wanted {dataset}/{model}; was the folder copied?"
        )


def _params(run: Mapping[str, Any]) -> dict[str, str]:
    """The config, flat, and the few facts a person sorts runs by."""
    facts = {key: run[key] for key in ("preset", "seed", "epochs", "best_epoch", "parameters") if key in run}
    return {**flatten(run["config"]), **flatten(facts)}


def _tags(run: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """What made the run: commit, code, config, machine, packages, encoders, inputs and where its weights lie."""
    named = ("dataset", "model", "fold", "preset", "code", "config_digest", "git_dirty", "host", "device", "versions")
    about = {key: run[key] for key in (*named, "interruptions", "encoders") if run.get(key) is not None}
    tags = flatten(about, "lile.")
    if run.get("inputs"):
        tags["lile.inputs"] = json.dumps(run["inputs"], sort_keys=True)
    if run.get("git_commit"):
        tags["mlflow.source.git.commit"] = str(run["git_commit"])
    weights = folder / "model.safetensors"
    if weights.is_file():
        tags["lile.weights"] = str(weights.resolve())
        tags["lile.weights_sha256"] = sha256_of(weights)
    return {name: shortened(text, MAX_TAG) for name, text in tags.items()}


def _history(path: Path) -> Iterator[Point]:
    """Yield one point per number and epoch of a history file, at the time the file says."""
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        epoch = _parse(line, f"{path} line {number}")
        try:
            step, time_ms = int(epoch.pop("epoch")), milliseconds(epoch.pop("time_unix"))
        except KeyError as error:
            raise InputError(f"{path} line {number}: lacks {error}; train this fold again") from None
        for name, value in numbers(epoch):
            yield Point(name, value, time_ms, step)


def _read_json(path: Path) -> dict[str, Any]:
    return _parse(_read_text(path), str(path))


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: is missing; train and evaluate this fold first") from None


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: is not JSON ({error}); make the file again") from None
    if not isinstance(value, dict):
        raise InputError(f"{where}: holds a {type(value).__name__}, wanted an object; make the file again")
    return value
