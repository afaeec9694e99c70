"""The names that the workflow's rules are made of: datasets, encoders, rows, folds, shards.

All functions take a config that :func:`lile.config.prepare` has completed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lile.data.archives import ARCHIVES
from lile.features.libraries import REGION_VIT, reads_pictures

Config = Mapping[str, Any]


def datasets_of(config: Config, kind: str) -> list[str]:
    """Return the names of the datasets of a kind whose records are read, sorted: not those with another's data."""
    return sorted(
        name
        for name, dataset in config["datasets"].items()
        if dataset["kind"] == kind and dataset["same_data_as"] is None
    )


def data_of(config: Config, dataset: str) -> str:
    """Return the dataset under whose name the records and tokens of ``dataset`` lie: itself, or ``same_data_as``."""
    return config["datasets"][dataset]["same_data_as"] or dataset


def has_pictures(config: Config, dataset: str) -> bool:
    """Return whether a dataset's images are pictures, and not regions alone."""
    return bool(config["datasets"][dataset]["kind"] != "precomputed")


def downloaded(config: Config) -> list[str]:
    """Return the names of the datasets whose archives are fetched, sorted."""
    datasets = config["datasets"]
    return sorted(name for kind in ARCHIVES for name in datasets_of(config, kind) if datasets[name]["download"])


def encoders_of(config: Config, modality: str) -> list[str]:
    """Return the names of the encoders of a modality, sorted."""
    return sorted(name for name, encoder in config["encoders"].items() if encoder["modality"] == modality)


def image_encoders_of(config: Config, library: str | None) -> list[str]:
    """Return the names of the image encoders of a library, sorted; None: all that read whole pictures."""
    encoders = config["encoders"]
    return [
        name
        for name in encoders_of(config, "image")
        if (reads_pictures(encoders[name]["library"]) if library is None else encoders[name]["library"] == library)
    ]


def store_of(config: Config, encoder: str) -> str:
    """Return the encoder whose store holds the tokens that ``encoder`` reads: itself, or a region ViT's source."""
    block = config["encoders"][encoder]
    source: str = block["source"] if block.get("library") == REGION_VIT else encoder
    return source


def converted_weights(config: Config) -> dict[str, str]:
    """Return, for each folder of weights that is made here, the file it is made from: {folder name: path}."""
    return {
        Path(encoder["weights"]).name: encoder["convert_from"]
        for encoder in config["encoders"].values()
        if encoder.get("convert_from") is not None
    }


def folds_of(config: Config, dataset: str) -> list[int]:
    """Return the numbers of a dataset's runs: each of its folds, as often as it is trained."""
    folds = config["datasets"][dataset]["folds"]
    return list(range(folds["count"] * folds["seeds"]))


def shards_of(config: Config, dataset: str) -> list[int]:
    """Return the numbers of the files that a dataset's tokens are stored in."""
    return list(range(config["datasets"][dataset]["shards"]))


def score_shares(config: Config, dataset: str) -> list[int]:
    """Return the numbers of the jobs that share a fold's scoring; none where the evaluation does it alone."""
    jobs: int = config["datasets"][dataset]["evaluation"]["jobs"]
    return list(range(jobs)) if jobs > 1 else []


def models_of_kind(config: Config, kind: str) -> list[str]:
    """Return the names of the models of a kind, sorted."""
    return sorted(name for name, model in config["models"].items() if model["kind"] == kind)


def members_of(config: Config, model: str) -> list[str]:
    """Return the trained rows whose scores a row is made from: itself, an ensemble's members, a shortlist's row."""
    block = config["models"][model]
    if block["kind"] == "ensemble":
        return list(block["members"])
    return members_of(config, block["shortlist"]["model"]) if block["kind"] == "cross_encoder" else [model]


def rows_below(models: Mapping[str, Any], model: str) -> list[str]:
    """Return the rows that a row stands on, at any depth: an ensemble's members, a shortlist's row and its members."""
    block = models.get(model, {})
    below = [*block.get("members", []), *([block["shortlist"]["model"]] if "shortlist" in block else [])]
    return [*below, *(deeper for name in below for deeper in rows_below(models, name))]


def encoder_of(config: Config, dataset: str, model: str, modality: str) -> str | None:
    """Return the encoder whose tokens a row reads; None where it reads words instead."""
    for member in members_of(config, model):
        block = config["models"][member]
        if modality == "image" or block["text"]["source"] == "encoder":
            own: str | None = block["encoders"][modality]
            return own or config["datasets"][dataset]["encoders"][modality]
    return None


def table_runs(config: Config, table: str) -> list[tuple[str, str, int]]:
    """Return (dataset, model, fold) of every run that a table shows, in the table's order."""
    block = config["tables"][table]
    return [(block["dataset"], model, fold) for model in block["models"] for fold in folds_of(config, block["dataset"])]
