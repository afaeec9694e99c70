"""Checks between keys of a config: names that must lead somewhere, values that must agree."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lile.cross.config import CrossConfig
from lile.data.archives import ARCHIVES
from lile.encoder_checks import dual_encoders
from lile.errors import InputError
from lile.features.libraries import REGION_LIBRARIES, REGION_VIT
from lile.models.config import ModelConfig
from lile.pretraining_checks import pretraining
from lile.region_checks import regions
from lile.reporting.published import paths_of, published_rows

_CONVERTED = re.compile(r"resources/encoders/[a-z][a-z0-9_]*")


def check_references(config: Mapping[str, Any]) -> None:
    """Check what one key says about another.

    Args:
        config: valid by the schema, with defaults.

    Raises:
        InputError: lists every disagreement, one line each, with dotted path and how to mend it.
    """
    found = [*_datasets(config), *_encoders(config), *_models(config), *_tables(config), *_published(config)]
    found += [*dual_encoders(config), *pretraining(config)]
    found += regions(config)
    if found:
        raise InputError("\n  ".join(["the config contradicts itself:", *found]))


def _datasets(config: Mapping[str, Any]) -> Iterator[str]:
    for name, dataset in config["datasets"].items():
        where = f"datasets.{name}"
        for modality, encoder in dataset["encoders"].items():
            yield from _encoder_of(config, f"{where}.encoders.{modality}", encoder, modality)
        yield from _folds(where, dataset)
        folder = f"resources/{dataset['same_data_as'] or name}"
        if dataset["kind"] in ARCHIVES and dataset["download"] and dataset["root"] != folder:
            yield (
                f"{where}.root: found {dataset['root']}, but a download goes to {folder}. Leave root out, or "
                "set download: false to use a folder that you have"
            )
        if dataset["kind"] == "coco" and dataset["download"] and dataset["images"] is not None:
            yield f"{where}.images: a download brings them to {folder}. Leave images out, or set download: false"


def _encoder_of(config: Mapping[str, Any], where: str, encoder: str, modality: str) -> Iterator[str]:
    if encoder not in config["encoders"]:
        yield nowhere(where, encoder, "encoders", config["encoders"])
    elif config["encoders"][encoder]["modality"] != modality:
        fitting = [name for name, block in config["encoders"].items() if block["modality"] == modality]
        yield f"{where}: {encoder} does not read {modality}s; encoders that do: {', '.join(fitting) or 'none'}"


def _folds(where: str, dataset: Mapping[str, Any]) -> Iterator[str]:
    folds = dataset["folds"]
    if folds["by"] == "cross_validation" and folds["count"] < 2:
        yield f"{where}.folds.count: found {folds['count']}, but cross_validation needs at least 2"
    if folds["by"] == "split" and folds["seeds"] > 1:
        yield f"{where}.folds.seeds: found {folds['seeds']}, but with by: split, count is the number of seeds"
    if folds["by"] == "split" and folds["near_duplicates"] == "together":
        yield (
            f"{where}.folds.near_duplicates: together, but folds.by: split moves no image. Leave it out (leaks.csv "
            "lists what the split tears apart), or set folds.by: cross_validation"
        )
    if folds["by"] == "split" and dataset["kind"] not in ("pairs", "coco", "precomputed"):
        yield f"{where}.folds.by: split, but a dataset of kind {dataset['kind']} has none; use cross_validation"
    if folds["by"] == "split" and dataset["kind"] == "pairs" and dataset["columns"]["split"] is None:
        yield f"{where}.folds.by: split, but columns.split is null; name the column that holds the split"


def _encoders(config: Mapping[str, Any]) -> Iterator[str]:
    for name, encoder in config["encoders"].items():
        where = f"encoders.{name}"
        random = encoder.get("weights") == "random"
        if "config" in encoder and random and encoder["config"] is None:
            yield f"{where}.config: needed with weights: random; a folder whose config.json is the architecture"
        if "config" in encoder and not random and encoder["config"] is not None:
            yield f"{where}.config: only with weights: random; {encoder['weights']} brings its own. Leave it out"
        if encoder.get("convert_from") is not None:
            yield from _converted(where, encoder)
        if encoder.get("library") == REGION_VIT:
            yield from _source(config, f"{where}.source", encoder["source"])


def _source(config: Mapping[str, Any], where: str, source: str) -> Iterator[str]:
    """Check that a region ViT stands on regions."""
    if source not in config["encoders"]:
        yield nowhere(where, source, "encoders", config["encoders"])
        return
    library = config["encoders"][source].get("library")
    if library not in REGION_LIBRARIES:
        needed = " or ".join(REGION_LIBRARIES)
        yield f"{where}: {source} is an encoder of library {library}, not of regions; needed is one of {needed}"


def _converted(where: str, encoder: Mapping[str, Any]) -> Iterator[str]:
    if encoder["modality"] != "image":
        yield f"{where}.convert_from: only for an image encoder"
    if not _CONVERTED.fullmatch(encoder["weights"]):
        made = "resources/encoders/<name>"
        yield f"{where}.weights: found {encoder['weights']}, but with convert_from it is the folder to make: {made}"


def _models(config: Mapping[str, Any]) -> Iterator[str]:
    for name, model in config["models"].items():
        where = f"models.{name}"
        said = model_error(model)
        if said:
            yield f"{where}: {said}"
        for modality, encoder in model.get("encoders", {}).items():
            if encoder is not None:
                yield from _encoder_of(config, f"{where}.encoders.{modality}", encoder, modality)
        yield from _members(config, f"{where}.members", model.get("members", []))
        if "shortlist" in model:
            yield from _row_of_kind(
                config, f"{where}.shortlist.model", model["shortlist"]["model"], ("trained", "ensemble")
            )


def model_error(block: Mapping[str, Any]) -> str | None:
    """Return which keys of a model clash and how to mend it; ``None`` where they agree."""
    try:
        row = row_config(block)
        if block.get("kind") == "cross_encoder":
            CrossConfig.from_dict(block)
    except InputError as error:
        return str(error)
    if row is not None and row.training.epochs > 0 and not _learns(row):
        return "nothing in this row can be trained; take matching.kind: dot or max, and training.epochs: 0"
    return None


def _learns(row: ModelConfig) -> bool:
    """Return whether a row has any weight that trains: a pooling's, a gate's, or alpha."""
    has_alpha = row.matching.direct != "none" and row.matching.alpha_trained
    return row.image.learns or row.text.learns or (row.matching.kind == "iterative" and (row.steps > 1 or has_alpha))


def row_config(block: Mapping[str, Any]) -> ModelConfig | None:
    """Return a block of ``models`` as a trained row's config; ``None`` for another kind.

    Raises:
        InputError: an unknown key, a bad value, or keys that clash.
    """
    if block.get("kind", "trained") != "trained":
        return None
    return ModelConfig.from_dict({key: value for key, value in block.items() if key not in ("kind", "encoders")})


def _members(config: Mapping[str, Any], where: str, members: Sequence[str]) -> Iterator[str]:
    """Check that an ensemble's members are there, have scores of their own, and read the same tokens."""
    blocks = [config["models"][name] for name in members if name in config["models"]]
    if any(block.get("encoders") != blocks[0].get("encoders") for block in blocks):
        yield f"{where}: they have different encoders; give all the same, or leave models.<name>.encoders out"
    if len({_vocabulary(block) for block in blocks}) > 1:
        yield f"{where}: they read different words; give all the same text.source and text.min_count"
    for member in members:
        yield from _row_of_kind(config, where, member, ("trained",))


def _vocabulary(block: Mapping[str, Any]) -> int | None:
    """Return what decides a row's vocabulary within a fold; ``None`` where it reads no words."""
    text = block.get("text", {})
    return text["min_count"] if text.get("source") == "words" else None


def _row_of_kind(config: Mapping[str, Any], where: str, name: str, kinds: Sequence[str]) -> Iterator[str]:
    """Check that another row is there and of a kind that can be built upon."""
    if name not in config["models"]:
        yield nowhere(where, name, "models", config["models"])
    elif config["models"][name]["kind"] not in kinds:
        yield f"{where}: {name} is of kind {config['models'][name]['kind']}; needed is one of kind {' or '.join(kinds)}"


def _tables(config: Mapping[str, Any]) -> Iterator[str]:
    for name, table in config["tables"].items():
        where = f"tables.{name}"
        if table["dataset"] not in config["datasets"]:
            yield nowhere(f"{where}.dataset", table["dataset"], "datasets", config["datasets"])
        for model in table["models"]:
            if model not in config["models"]:
                yield nowhere(f"{where}.models", model, "models", config["models"])
        labels = [table["labels"].get(model, model) for model in table["models"]]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        yield from (f"{where}.labels: two rows are called {label!r}; give each its own name" for label in twice)
        for key in ("labels", "compare", "values"):
            # Of a model that this table does not show is fine: an overlay may shorten the list of models alone.
            strange = [model for model in table[key] if model not in config["models"]]
            yield from (nowhere(f"{where}.{key}", model, "models", config["models"]) for model in strange)


def _published(config: Mapping[str, Any]) -> Iterator[str]:
    """Check the files of published figures, each once, and the methods that rows are compared with."""
    places = [(f"tables.{name}", table["published"]) for name, table in config["tables"].items()]
    for name, ablation in config["ablations"].items():
        places += [(f"ablations.{name}", published) for published in ablation["published"].values()]
    methods: dict[str, list[str]] = {}
    for path, where in {path: where for where, published in reversed(places) for path in paths_of(published)}.items():
        try:
            methods[path] = [row["method"] for row in published_rows(Path(path))]
        except InputError as error:
            yield f"{where}.published: {error}"
    for name, table in config["tables"].items():
        known = dict.fromkeys(method for path in paths_of(table["published"]) for method in methods.get(path, []))
        strange = [method for method in table["compare"].values() if known and method not in known]
        where = f"tables.{name}"
        yield from (nowhere(f"{where}.compare", method, f"{where}.published", known) for method in strange)


def nowhere(where: str, name: str, section: str, known: Collection[str]) -> str:
    """Return the line for a name that leads nowhere, with the nearest that does."""
    near = difflib.get_close_matches(name, known, n=1)
    mend = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known) or 'none'}"
    return f"{where}: {name} is not among {section}; {mend}"
