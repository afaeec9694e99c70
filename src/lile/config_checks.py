"""Checks between keys of a config: names that must lead somewhere, values that must agree."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from lile.errors import InputError

_REDUCE_OF = {"paper": "sum", "scaled": "mean"}
_CONVERTED = re.compile(r"resources/encoders/[a-z][a-z0-9_]*")


def check_references(config: Mapping[str, Any]) -> None:
    """Check what one key says about another.

    Args:
        config: valid by the schema, with defaults.

    Raises:
        InputError: lists every disagreement, one line each, with dotted path and how to mend it.
    """
    found = [*_datasets(config), *_encoders(config), *_models(config), *_tables(config)]
    if found:
        raise InputError("\n  ".join(["the config contradicts itself:", *found]))


def _datasets(config: Mapping[str, Any]) -> Iterator[str]:
    for name, dataset in config["datasets"].items():
        where = f"datasets.{name}"
        for modality, encoder in dataset["encoders"].items():
            yield from _encoder_of(config, f"{where}.encoders.{modality}", encoder, modality)
        yield from _folds(where, dataset)
        if dataset["kind"] == "arch" and dataset["download"] and dataset["root"] != f"resources/{name}":
            yield (
                f"{where}.root: found {dataset['root']}, but a download goes to resources/{name}. Leave root out, or "
                "set download: false to use a folder that you have"
            )


def _encoder_of(config: Mapping[str, Any], where: str, encoder: str, modality: str) -> Iterator[str]:
    if encoder not in config["encoders"]:
        yield _nowhere(where, encoder, "encoders", config["encoders"])
    elif config["encoders"][encoder]["modality"] != modality:
        fitting = [name for name, block in config["encoders"].items() if block["modality"] == modality]
        yield f"{where}: {encoder} does not read {modality}s; encoders that do: {', '.join(fitting) or 'none'}"


def _folds(where: str, dataset: Mapping[str, Any]) -> Iterator[str]:
    folds = dataset["folds"]
    if folds["by"] == "cross_validation" and folds["count"] < 2:
        yield f"{where}.folds.count: found {folds['count']}, but cross_validation needs at least 2"
    if folds["by"] == "split" and dataset["kind"] != "pairs":
        yield f"{where}.folds.by: split, but a dataset of kind {dataset['kind']} has none; use cross_validation"
    if folds["by"] == "split" and dataset["kind"] == "pairs" and dataset["columns"]["split"] is None:
        yield f"{where}.folds.by: split, but columns.split is null; name the column that holds the split"


def _encoders(config: Mapping[str, Any]) -> Iterator[str]:
    for name, encoder in config["encoders"].items():
        where = f"encoders.{name}"
        if encoder["weights"] == "random" and encoder["config"] is None:
            yield f"{where}.config: needed with weights: random; a folder whose config.json is the architecture"
        if encoder["weights"] != "random" and encoder["config"] is not None:
            yield f"{where}.config: only with weights: random; {encoder['weights']} brings its own. Leave it out"
        if encoder["convert_from"] is not None:
            yield from _converted(where, encoder)


def _converted(where: str, encoder: Mapping[str, Any]) -> Iterator[str]:
    if encoder["modality"] != "image":
        yield f"{where}.convert_from: only for an image encoder"
    if not _CONVERTED.fullmatch(encoder["weights"]):
        made = "resources/encoders/<name>"
        yield f"{where}.weights: found {encoder['weights']}, but with convert_from it is the folder to make: {made}"


def _models(config: Mapping[str, Any]) -> Iterator[str]:
    for name, model in config["models"].items():
        promised, found = _REDUCE_OF.get(model["preset"]), model["matching"]["reduce"]
        if promised and found != promised:
            yield (
                f"models.{name}.matching.reduce: found {found}, but preset {model['preset']} means {promised}. "
                f"Write matching: {{reduce: {promised}}}, or another preset"
            )


def _tables(config: Mapping[str, Any]) -> Iterator[str]:
    for name, table in config["tables"].items():
        where = f"tables.{name}"
        if table["dataset"] not in config["datasets"]:
            yield _nowhere(f"{where}.dataset", table["dataset"], "datasets", config["datasets"])
        for model in table["models"]:
            if model not in config["models"]:
                yield _nowhere(f"{where}.models", model, "models", config["models"])


def _nowhere(where: str, name: str, section: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    mend = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known) or 'none'}"
    return f"{where}: {name} is not among {section}; {mend}"
