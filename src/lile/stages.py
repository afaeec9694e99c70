"""What each stage of the workflow reads from the config.

A job's parameters hold its slice as ONE string, so that a change of the config runs again exactly the stages
that read the key: Snakemake compares several parameters as a set and would miss two that swap.
All functions take a config that :func:`lile.config.prepare` has completed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from lile.data import nct_crc
from lile.data.archives import ARCHIVES
from lile.lists import Config, data_of, encoder_of, folds_of, has_pictures, members_of, rows_below, store_of
from lile.pretrained_here import needed_by

Slice = dict[str, Any]


def slice_for(stage: str, config: Config, **wildcards: str) -> str:
    """Return the config keys that ``stage`` reads, as JSON with sorted keys.

    Args:
        stage: a key of ``STAGES``.
        config: complete.
        wildcards: of the job; each stage takes those it needs and ignores the rest.

    Raises:
        KeyError: no such stage, or a wildcard it needs is not given.
    """
    return json.dumps(STAGES[stage](config, wildcards), sort_keys=True)


def short_digest(text: str) -> str:
    """Return 8 hex digits that name a slice."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:8]


def _keys(block: Mapping[str, Any], *names: str) -> Slice:
    return {name: block[name] for name in names}


def _encoder(config: Config, name: str) -> Slice:
    """An encoder's keys, less those that do not change its output; a region ViT's with those of its source."""
    block = config["encoders"][name]
    keys = {key: value for key, value in block.items() if key not in ("batch_size", "convert_from")}
    return keys | {"source": _encoder(config, block["source"])} if store_of(config, name) != name else keys


def _encoders(config: Config, dataset: str, model: str) -> dict[str, Slice | None]:
    names = {modality: encoder_of(config, dataset, model, modality) for modality in ("image", "text")}
    return {modality: None if name is None else _encoder(config, name) for modality, name in names.items()}


def trained_keys(block: Mapping[str, Any]) -> Slice:
    """Return a trained row's block as :class:`lile.models.config.ModelConfig` reads it."""
    return {key: value for key, value in block.items() if key not in ("kind", "encoders")}


def _check(config: Config, wildcards: Mapping[str, str]) -> Slice:
    """All that has to do with one dataset, in the shape of a config; tables of datasets with its data are its own."""
    name = wildcards["dataset"]
    dataset = config["datasets"][name]
    tables = {
        key: dict(table) | {"dataset": name}
        for key, table in config["tables"].items()
        if name in (table["dataset"], data_of(config, table["dataset"]))
    }
    shown = {model for table in tables.values() for model in table["models"]}
    models = sorted(shown.union(*(rows_below(config["models"], model) for model in shown)))
    used = {encoder_of(config, name, model, modality) for model in models for modality in ("image", "text")}
    encoders = {encoder for encoder in {*dataset["encoders"].values(), *used} if encoder is not None}
    encoders |= {store_of(config, encoder) for encoder in encoders}
    weights = [config["encoders"][encoder].get("weights") for encoder in sorted(encoders)]
    about = {
        "seed": config["seed"],
        "datasets": {name: dataset},
        "encoders": _keys(config["encoders"], *sorted(encoders)),
        "pretraining": _keys(config["pretraining"], *needed_by(config["pretraining"], weights)),
        "models": _keys(config["models"], *models),
        "tables": tables,
        "tracking": config["tracking"],
    }
    return {"dataset": name, "config": about}


def _download(config: Config, wildcards: Mapping[str, str]) -> Slice:
    archive = wildcards["archive"]
    return {"archive": archive} | config["datasets"][wildcards["dataset"]]["archives"][archive]


def _unpack(config: Config, wildcards: Mapping[str, str]) -> Slice:
    name = wildcards["archive"]
    return {"archive": name} | ARCHIVES[config["datasets"][wildcards["dataset"]]["kind"]][name]._asdict()


def _read_arch(config: Config, wildcards: Mapping[str, str]) -> Slice:
    name = wildcards["dataset"]
    return {"dataset": name} | _keys(config["datasets"][name], "root", "verify")


def _read_coco(config: Config, wildcards: Mapping[str, str]) -> Slice:
    name = wildcards["dataset"]
    read = ("root", "split_file", "images", "captions_per_image", "limit", "verify")
    return {"dataset": name} | _keys(config["datasets"][name], *read)


def _read_pairs(config: Config, wildcards: Mapping[str, str]) -> Slice:
    name = wildcards["dataset"]
    read = ("file", "root", "columns", "limit", "drop_captions", "verify")
    return {"dataset": name} | _keys(config["datasets"][name], *read)


def _read_precomputed(config: Config, wildcards: Mapping[str, str]) -> Slice:
    name = wildcards["dataset"]
    read = ("root", "splits", "captions_per_image", "limit", "drop_captions")
    return {"dataset": name} | _keys(config["datasets"][name], *read)


def _read_synthetic(config: Config, wildcards: Mapping[str, str]) -> Slice:
    name = wildcards["dataset"]
    return {"dataset": name, "seed": config["seed"]} | _keys(config["datasets"][name], "items", "size_px")


def _describe(config: Config, wildcards: Mapping[str, str]) -> Slice:
    return _keys(config["datasets"][wildcards["dataset"]], "descriptions")


def _duplicates(config: Config, wildcards: Mapping[str, str]) -> Slice:
    name = wildcards["dataset"]
    return {"pictures": has_pictures(config, name)} | _keys(config["datasets"][name], "near_duplicate_bits")


def _folds(config: Config, wildcards: Mapping[str, str]) -> Slice:
    name = wildcards["dataset"]
    return {"dataset": name, "seed": config["seed"]} | _keys(config["datasets"][name], "folds")


def _leaks(config: Config, wildcards: Mapping[str, str]) -> Slice:
    return {"dataset": wildcards["dataset"]} | _duplicates(config, wildcards)


def _tokens(config: Config, wildcards: Mapping[str, str]) -> Slice:
    """What decides the tokens of a shard."""
    encoder = _encoder(config, wildcards["encoder"])
    # Pretrained weights owe nothing to the seed: another seed must not extract them again.
    seed = config["seed"] if encoder.get("weights") == "random" else 0
    return {"encoder_name": wildcards["encoder"], "encoder": encoder, "seed": seed}


def _tokens_job(config: Config, wildcards: Mapping[str, str]) -> Slice:
    """The same, with what decides only how fast they are made."""
    tokens = _tokens(config, wildcards)
    batch = config["encoders"][wildcards["encoder"]].get("batch_size")
    tokens["encoder"] |= {} if batch is None else {"batch_size": batch}
    return tokens


def _pretrain(config: Config, wildcards: Mapping[str, str]) -> Slice:
    name = wildcards["pretraining"]
    block = config["pretraining"][name]
    data = {key: value for key, value in block["data"].items() if key != "download"}  # how they came changes no result
    return {"name": name, "seed": config["seed"], "pretraining": {**block, "data": data}}


def _download_patches(config: Config, wildcards: Mapping[str, str]) -> Slice:
    """The record names no SHA-256: that of the first download is recorded and holds."""
    return {"url": nct_crc.url_of(wildcards["patches"]), "size": None, "sha256": None}


def _unpack_patches(config: Config, wildcards: Mapping[str, str]) -> Slice:
    return {"root_file": None, "alone": False}


def _fold(config: Config, wildcards: Mapping[str, str]) -> Slice:
    """What names a fold of a row, and the encoders whose tokens it reads."""
    return {
        "dataset": wildcards["dataset"],
        "model": wildcards["model"],
        "fold": int(wildcards["fold"]),
        "seed": config["seed"],
        "encoders": _encoders(config, wildcards["dataset"], wildcards["model"]),
    }


def _train(config: Config, wildcards: Mapping[str, str]) -> Slice:
    return _fold(config, wildcards) | {"model_config": trained_keys(config["models"][wildcards["model"]])}


def _evaluate(config: Config, wildcards: Mapping[str, str]) -> Slice:
    """Evaluation rebuilds the models that training made."""
    return (
        _fold(config, wildcards)
        | {"members": _members(config, wildcards["model"])}
        | {"evaluation": _figures(config, wildcards["dataset"])}
    )


def _members(config: Config, model: str) -> list[Slice]:
    return [trained_keys(config["models"][member]) for member in members_of(config, model)]


def _figures(config: Config, dataset: str) -> Slice:
    """What decides which figures and files an evaluation gives, and not how they are computed."""
    return _keys(config["datasets"][dataset]["evaluation"], "block_images", "trec_depth")


def _train_cross(config: Config, wildcards: Mapping[str, str]) -> Slice:
    """A cross-encoder, and the row whose shortlists it re-ranks."""
    return _fold(config, wildcards) | {
        "cross_config": config["models"][wildcards["model"]],
        "members": _members(config, wildcards["model"]),
        "regions": _encoder(config, store_of(config, config["datasets"][wildcards["dataset"]]["encoders"]["image"])),
    }


def _evaluate_cross(config: Config, wildcards: Mapping[str, str]) -> Slice:
    return _train_cross(config, wildcards) | {"evaluation": _figures(config, wildcards["dataset"])}


def _combine(config: Config, wildcards: Mapping[str, str]) -> Slice:
    return _keys(config["models"][wildcards["model"]], "members") | {
        name: wildcards[name] for name in ("dataset", "model", "fold")
    }


def _track(config: Config, wildcards: Mapping[str, str]) -> Slice:
    name = wildcards["dataset"]
    runs = len(folds_of(config, name))
    return {"dataset": name, "model": wildcards["model"], "folds": runs} | _keys(config, "tracking")


def _caption_lengths(config: Config, wildcards: Mapping[str, str]) -> Slice:
    """What decides how texts are counted: of the text encoder, its tokenizer and where it cuts."""
    name = wildcards["dataset"]
    encoder = config["encoders"][config["datasets"][name]["encoders"]["text"]]
    read = ("modality", "library", "weights", "config", "max_tokens")
    counted = {key: encoder[key] for key in read if key in encoder}
    return {"dataset": name, "kind": config["datasets"][name]["kind"], "encoder": counted}


def _table(config: Config, wildcards: Mapping[str, str]) -> Slice:
    name = wildcards["table"]
    dataset = config["datasets"][config["tables"][name]["dataset"]]
    folds = dataset["folds"]
    table = config["tables"][name]
    shown = {"kind": dataset["kind"], "data": data_of(config, table["dataset"]), "folds": folds["count"]}
    shown |= _keys(folds, "seeds", "by", "group_by")
    of_rows = {
        key: {model: said for model, said in table[key].items() if model in table["models"]}
        for key in ("labels", "compare", "values")
    }
    return {"table": name} | table | of_rows | shown


STAGES: dict[str, Callable[[Config, Mapping[str, str]], Slice]] = {
    "check": _check,
    "download_archive": _download,
    "unpack_archive": _unpack,
    "read_arch": _read_arch,
    "read_coco": _read_coco,
    "read_pairs": _read_pairs,
    "read_precomputed": _read_precomputed,
    "read_synthetic": _read_synthetic,
    "describe": _describe,
    "duplicates": _duplicates,
    "make_folds": _folds,
    "leaks": _leaks,
    "tokens": _tokens,
    "tokens_job": _tokens_job,
    "download_patches": _download_patches,
    "unpack_patches": _unpack_patches,
    "pretrain": _pretrain,
    "train": _train,
    "evaluate": _evaluate,
    "train_cross": _train_cross,
    "evaluate_cross": _evaluate_cross,
    "combine": _combine,
    "track": _track,
    "caption_lengths": _caption_lengths,
    "table": _table,
}
"""What each stage reads, by the name of the stage."""
