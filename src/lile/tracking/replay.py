"""Run files told to MLflow, after the fact: a parent run per dataset and model, a child run per fold.

Training and evaluation write files only; this replays them in one local process with the original times. Every run
carries the tag ``lile.key``, a digest of what it was made from, so that replaying again adds nothing, a fold that
changed replaces its child, and a run that a killed replay left half-written is made anew.
"""

from __future__ import annotations

import getpass
import logging
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lile.errors import InputError
from lile.files import digest_of
from lile.tracking.records import RECORD_FILES, FoldRecord, Point, read_fold
from lile.tracking.stores import Store, choose_uri, is_server, local_uri, open_store, redacted, settings

if TYPE_CHECKING:
    from mlflow.entities import Run

log = logging.getLogger(__name__)

# MLflow takes 1,000 metrics and 100 params or tags in one call.
METRICS_PER_CALL = 900
TEXTS_PER_CALL = 100
MAX_ARTIFACT_BYTES = 5 << 20
_KEY = "lile.key"
_CONTENT = "lile.content"
_PARENT = "mlflow.parentRunId"


def track(dataset: str, model: str, run_folders: Sequence[Path], uri: str | None, results: Path) -> dict[str, Any]:
    """Bring MLflow to what the run files say, and return a receipt.

    Args:
        dataset: the dataset's name; its runs live in the experiment ``lile/{dataset}``.
        model: the model's name.
        run_folders: one folder per fold with ``run.json``, ``history.jsonl`` and ``metrics.json``.
        uri: the config's tracking address; ``None``: ``MLFLOW_TRACKING_URI``, else a database under ``results``.
        results: the results folder.

    Returns:
        ``uri, experiment, experiment_id, parent_run_id, child_run_ids {fold: id}, added, existing`` (child runs),
        ``pending`` and, if pending, ``wanted_uri`` and ``reason``. Pending means that the server could not take the
        runs and the project's own database has them instead.

    Raises:
        InputError: a run file is missing or wrong, or a local address cannot be used.
    """
    folds = [read_fold(folder, dataset, model) for folder in run_folders]
    if not folds:
        raise InputError(f"tracking {dataset}/{model}: no folds given; train at least one")
    wanted = choose_uri(uri, results)
    with settings():
        try:
            return {**_replay_into(wanted, folds, results), "pending": False}
        except Exception as error:
            # Whatever a far-away server does (gone, full, wrong password), the table must not wait for it.
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            if not is_server(wanted):
                raise InputError(f"tracking.uri {redacted(wanted)}: MLflow cannot use it ({reason})") from error
            log.debug("why the server did not take the runs", exc_info=True)
        receipt = _replay_into(local_uri(results), folds, results)
    log.warning(
        "tracking %s/%s is PENDING: %s did not take the runs (%s); they are in %s instead. "
        "When it answers again, delete %s and run the workflow again.",
        *(dataset, model, redacted(wanted), reason, receipt["uri"], results / dataset / model / "mlflow.json"),
    )
    return {**receipt, "pending": True, "wanted_uri": redacted(wanted), "reason": reason}


@dataclass(frozen=True)
class _Family:
    """The runs of one dataset, model, config and code, in one results folder."""

    store: Store
    folds: Sequence[FoldRecord]
    key: str
    """Identity of the parent. Holds the results folder, so that two people on one server never touch each other."""
    content: str
    """Changes with any byte of any fold's files."""


def _replay_into(uri: str, folds: Sequence[FoldRecord], results: Path) -> dict[str, Any]:
    first = folds[0]
    recipes = sorted({fold.recipe for fold in folds})
    key = digest_of([str(results.resolve()), first.dataset, first.model, recipes])
    content = digest_of([[fold.fold, fold.key] for fold in folds])
    with open_store(uri, results, first.dataset) as store:
        receipt = _upsert(_Family(store, folds, key, content))
        return {
            **receipt,
            "uri": store.uri,
            "experiment": f"lile/{first.dataset}",
            "experiment_id": store.experiment_id,
        }


def _upsert(family: _Family) -> dict[str, Any]:
    """Make the parent and the children that are missing, then remove what they replace.

    The order makes a kill harmless: until the parent is FINISHED the next replay starts it anew, and finished
    children are found by their keys and adopted.
    """
    parent, is_new = _parent(family)
    children, added = {}, 0
    for fold in family.folds:
        found = _finished_child(family.store, fold.key)
        if found is None:
            children[fold.fold] = _write_child(family.store, fold, parent)
            added += 1
        else:
            children[fold.fold] = found.info.run_id
            if found.data.tags.get(_PARENT) != parent:
                family.store.client.set_tag(found.info.run_id, _PARENT, parent)
    if is_new:
        _write_parent(family, parent)
    _remove_others(family, parent, set(children.values()))
    return {
        "parent_run_id": parent,
        "child_run_ids": children,
        "added": added,
        "existing": len(children) - added,
    }


def _parent(family: _Family) -> tuple[str, bool]:
    """Return the parent's id and whether it is new: an older one with other folds is replaced, not mended."""
    for run in _runs(family.store, _KEY, family.key):
        if run.info.status == "FINISHED" and run.data.tags.get(_CONTENT) == family.content:
            return run.info.run_id, False
    first = family.folds[0]
    tags = {_KEY: family.key, _CONTENT: family.content}
    started = min(fold.started_ms for fold in family.folds)
    return _create(family.store, f"{first.dataset}/{first.model}", started, tags), True


def _write_child(store: Store, fold: FoldRecord, parent: str) -> str:
    """Make one fold's run; FINISHED is set last, so that a run without it is known to be half-written."""
    name = f"{fold.dataset}/{fold.model}/fold-{fold.fold}"
    run = _create(store, name, fold.started_ms, {_KEY: fold.key, _PARENT: parent})
    _log(store, run, fold.points, fold.params, fold.tags)
    for file in RECORD_FILES:
        path = fold.folder / file
        if path.stat().st_size <= MAX_ARTIFACT_BYTES:
            store.client.log_artifact(run, str(path))
    store.client.set_terminated(run, "FINISHED", end_time=fold.ended_ms)
    return run


def _write_parent(family: _Family, run: str) -> None:
    """Write mean and standard deviation over folds, the config, and what the folds' params and tags agree on."""
    ended = max(fold.ended_ms for fold in family.folds)
    summary = over_folds([fold.test for fold in family.folds])
    points = [Point(name, value, ended, 0) for name, value in summary.items()]
    params = {**_common([fold.params for fold in family.folds]), "folds": str(len(family.folds))}
    _log(family.store, run, points, params, _common([fold.tags for fold in family.folds]))
    family.store.client.log_dict(run, family.folds[0].config, "config.json")
    family.store.client.set_terminated(run, "FINISHED", end_time=ended)


def over_folds(tests: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return ``{name}/mean`` and ``{name}/std`` of every metric that all folds have.

    The deviation is the sample's (n - 1), as in the tables; a single fold has none.
    """
    summary = {}
    for name in sorted(set.intersection(*(set(test) for test in tests))):
        values = [test[name] for test in tests]
        summary[f"{name}/mean"] = statistics.fmean(values)
        if len(values) > 1:
            summary[f"{name}/std"] = statistics.stdev(values)
    return summary


def _common(texts: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return what all folds say alike: the parent must not show one fold's device or seed as everybody's."""
    first, *others = texts
    return {name: text for name, text in first.items() if all(other.get(name) == text for other in others)}


def _create(store: Store, name: str, started_ms: int, tags: dict[str, str]) -> str:
    who = {"mlflow.user": _user(), "mlflow.source.name": "lile"}
    run = store.client.create_run(store.experiment_id, start_time=started_ms, tags={**who, **tags}, run_name=name)
    return run.info.run_id


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"  # a container's user need not have a name


def _log(store: Store, run: str, points: Sequence[Point], params: Mapping[str, str], tags: Mapping[str, str]) -> None:
    """Log everything in calls no larger than MLflow takes."""
    from mlflow.entities import Metric, Param, RunTag

    metrics = [Metric(point.name, point.value, point.time_ms, point.step) for point in points]
    for some_metrics in _portions(metrics, METRICS_PER_CALL):
        store.client.log_batch(run, metrics=some_metrics)
    for some_params in _portions([Param(*pair) for pair in params.items()], TEXTS_PER_CALL):
        store.client.log_batch(run, params=some_params)
    for some_tags in _portions([RunTag(*pair) for pair in tags.items()], TEXTS_PER_CALL):
        store.client.log_batch(run, tags=some_tags)


def _portions(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _runs(store: Store, tag: str, value: str) -> list[Run]:
    """Return all runs of our experiment, deleted ones aside, whose tag has this value."""
    runs: list[Run] = []
    token = None
    while True:
        page = store.client.search_runs(
            [store.experiment_id], filter_string=f"tags.`{tag}` = '{value}'", max_results=1000, page_token=token
        )
        runs += page
        token = page.token
        if not token:
            return runs


def _finished_child(store: Store, key: str) -> Run | None:
    """Return the whole run with this key, and remove half-written ones and twins."""
    whole = None
    for run in _runs(store, _KEY, key):
        if whole is None and run.info.status == "FINISHED":
            whole = run
        else:
            store.client.delete_run(run.info.run_id)
    return whole


def _remove_others(family: _Family, parent: str, children: set[str]) -> None:
    """Delete (MLflow can restore it) what this family no longer is: former or half-written parents and children."""
    client = family.store.client
    for older in {parent, *(run.info.run_id for run in _runs(family.store, _KEY, family.key))}:
        for run in _runs(family.store, _PARENT, older):
            if run.info.run_id not in children:
                client.delete_run(run.info.run_id)
        if older != parent:
            client.delete_run(older)
