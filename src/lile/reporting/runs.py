"""The folds a table is made of: read, and refused where they do not belong together."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lile.errors import InputError
from lile.evaluation.precision import PRECISIONS
from lile.evaluation.protocols import BOUNDS
from lile.evaluation.recalls import RECALLS
from lile.evaluation.relevance import DIRECTIONS
from lile.evaluation.relevance import PROTOCOLS as ALWAYS
from lile.reporting.curves import read_history
from lile.reporting.queries import RunQueries, read_queries
from lile.reporting.spec import PROTOCOLS, TableSpec

FIGURES = (*RECALLS, "MedR", "MeanR", *PRECISIONS)
FOLD_FILES = ("metrics.json", "run.json", "history.jsonl", "ranks.npz")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRuns:
    """All folds of one model, in order."""

    model: str
    metrics: tuple[dict[str, Any], ...]
    """Content of each fold's ``metrics.json``."""
    runs: tuple[dict[str, Any], ...]
    """Content of each fold's ``run.json``."""
    histories: tuple[list[dict[str, Any]], ...]
    """Epochs of each fold's ``history.jsonl``."""
    queries: tuple[RunQueries, ...]
    """What each fold's queries got: its ``ranks.npz``."""

    @property
    def preset(self) -> str:
        """``paper``, ``scaled`` or ``custom``."""
        return str(self.runs[0]["preset"])

    @property
    def encoders(self) -> dict[str, dict[str, Any]]:
        """What the features say about their encoders: ``image`` and ``text``."""
        return self.runs[0]["encoders"]

    @property
    def codes(self) -> int:
        """How many versions of the training code made these folds; 1 is as it should be."""
        return len({run.get("code") for run in self.runs})


def protocols_of(models: Sequence[ModelRuns]) -> tuple[str, ...]:
    """Return the protocols that the models' folds were evaluated under, in a table's order."""
    return tuple(name for name in PROTOCOLS if name in models[0].metrics[0]["protocols"])


def fold_paths(spec: TableSpec, results: Path) -> Iterator[Path]:
    """Yield every file a table is made of, folds in order."""
    for model in spec.models:
        for fold in range(spec.runs):
            yield from (results / spec.dataset / model / f"fold-{fold}" / name for name in FOLD_FILES)


def read_models(spec: TableSpec, results: Path) -> list[ModelRuns]:
    """Read all folds of the table's models.

    Args:
        spec: the table.
        results: folder of ``{dataset}/{model}/fold-{k}/{metrics.json,run.json,history.jsonl,ranks.npz}``.

    Returns:
        One item per model, in the table's order.

    Raises:
        InputError: folds are missing (all are named), a file is damaged or of another run, folds of a model come from
            different configs or weights, or models were tested on different images.
    """
    missing = [str(path) for path in fold_paths(spec, results) if not path.is_file()]
    if missing:
        raise InputError(f"table {spec.name}: incomplete, {len(missing)} file(s) missing: {', '.join(missing)}")
    models = [_read_model(spec, model, results / spec.dataset / model) for model in spec.models]
    _check_same_test(spec, models)
    return models


def _read_model(spec: TableSpec, model: str, folder: Path) -> ModelRuns:
    """Read one model's folds and check that they are one experiment."""
    folders = [folder / f"fold-{fold}" for fold in range(spec.runs)]
    runs = tuple(_read_json(one / "run.json") for one in folders)
    metrics = tuple(_read_json(one / "metrics.json") for one in folders)
    for fold, (one, run, content) in enumerate(zip(folders, runs, metrics, strict=True)):
        _check_run(run, {"dataset": spec.dataset, "model": model, "fold": fold}, one / "run.json")
        _check_metrics(content, fold, one / "metrics.json")
    _check_one_experiment(spec, model, runs)
    histories = tuple(read_history(one / "history.jsonl") for one in folders)
    queries = tuple(read_queries(one / "ranks.npz", content) for one, content in zip(folders, metrics, strict=True))
    return ModelRuns(model=model, metrics=metrics, runs=runs, histories=histories, queries=queries)


def _read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); delete it and run again") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds {type(value).__name__}, not an object; delete it and run again")
    return value


def _check_run(run: dict[str, Any], expected: dict[str, Any], path: Path) -> None:
    """Check that ``run.json`` is of this dataset, model and fold, and says what a table must tell."""
    absent = [key for key in (*expected, "preset", "config", "encoders") if key not in run]
    if absent:
        raise InputError(f"{path}: lacks {absent}; train this fold again")
    for key, value in expected.items():
        if str(run[key]) != str(value):
            raise InputError(f"{path}: is of {key} {run[key]!r}, not {value!r}; was the folder copied or renamed?")
    if not {"image", "text"} <= set(run["encoders"]):
        raise InputError(f"{path}: encoders names {sorted(run['encoders'])}, not image and text; train this fold again")


def _check_metrics(content: dict[str, Any], fold: int, path: Path) -> None:
    """Check that ``metrics.json`` is of this fold and holds every figure as a finite number."""
    if int(content.get("fold", fold)) != fold:
        raise InputError(f"{path}: is of fold {content['fold']}, not {fold}; was the folder copied or renamed?")
    try:
        values = [content["images"], content["texts"]]
        for name in dict.fromkeys([*ALWAYS, *content["protocols"]]):
            protocol = content["protocols"][name]
            values += [protocol["Rsum"], *(protocol[f"{bound}_Rsum"] for bound in BOUNDS)]
            values += [protocol[way][figure] for way in DIRECTIONS for figure in FIGURES]
            values += [protocol[way][bound][name] for way in DIRECTIONS for bound in BOUNDS for name in RECALLS]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: lacks {error}; evaluate this fold again") from None
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise InputError(f"{path}: a figure is not a finite number; evaluate this fold again")


def _check_one_experiment(spec: TableSpec, model: str, runs: tuple[dict[str, Any], ...]) -> None:
    """Check that all folds were trained with one config, on the same input files and encoder weights."""
    first = _recipe(spec, runs[0])
    for fold, run in enumerate(runs):
        recipe = _recipe(spec, run)
        differ = sorted(key for key in first.keys() | recipe.keys() if first.get(key) != recipe.get(key))
        if differ:
            raise InputError(
                f"table {spec.name}: {spec.unit}s 0 and {fold} of model {model} come from different configs, differing "
                f"in {', '.join(differ)}; run the workflow again, so that all are trained alike"
            )


def _recipe(spec: TableSpec, run: dict[str, Any]) -> dict[str, Any]:
    """Return all that must be the same in every fold of a model, under names that a person can look up."""
    apart = {"fold", "seed"} if spec.by == "split" or spec.seeds > 1 else {"fold"}  # repeats may differ in their seed
    settings = {"seed": run.get("seed"), **run["config"]}
    recipe = _flat({key: value for key, value in settings.items() if key not in apart})
    for side in ("image", "text"):
        recipe[f"weights of the {side} encoder"] = run["encoders"][side].get("weights_digest")
    # An ensemble's fold is made from its members' files of the same fold; what they were made from stands here, too.
    shared = {path: digest for path, digest in run.get("inputs", {}).items() if not _is_of_fold(path, run["fold"])}
    return recipe | {f"content of {path}": digest for path, digest in shared.items()}


def _is_of_fold(path: str, fold: int) -> bool:
    """Return whether a file lies in some row's folder of this fold."""
    return Path(path).parent.name == f"fold-{fold}"


def _check_same_test(spec: TableSpec, models: list[ModelRuns]) -> None:
    """Check that every model was tested on as many images and texts, with the same chance levels."""
    for other in models[1:]:
        for fold, (mine, theirs) in enumerate(zip(models[0].metrics, other.metrics, strict=True)):
            if _test_size(mine) != _test_size(theirs):
                raise InputError(
                    f"table {spec.name}: {spec.unit} {fold} of {models[0].model} and {other.model} were tested on "
                    f"different data: {_test_size(mine)} and {_test_size(theirs)} (images, texts, chance R@sum per "
                    "protocol); run the workflow again, so that all use the same folds"
                )


def _test_size(metrics: dict[str, Any]) -> tuple[Any, ...]:
    """Return images, texts and each protocol's chance level: equal for equal test sets."""
    levels = {name: round(metrics["protocols"][name]["chance_Rsum"], 6) for name in sorted(metrics["protocols"])}
    return (metrics["images"], metrics["texts"], levels)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping with dotted keys, so that what differs can be named."""
    if not isinstance(value, Mapping) or not value:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return flat
