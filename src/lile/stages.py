"""What each stage of the workflow reads from the config, and the lists its rules are made of.

A job's parameters hold its slice as ONE string, so that a change of the config runs again exactly the stages
that read the key: Snakemake compares several parameters as a set and would miss two that swap.
All functions take a config that :func:`lile.config.prepare` has completed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lile.data import nct_crc
from lile.data.archives import ARCHIVES, annotation_files
from lile.data.precomputed_files import files_of
from lile.features.detector_config import LIBRARY as DETECTOR
from lile.features.detector_config import input_files
from lile.features.layouts import DUAL_LAYOUTS, ENCODER, PROCESSOR_FILES
from lile.features.libraries import REGION_VIT, reads_pictures
from lile.pretrained_here import made_here, needed_by, start_files, trained_name
from lile.reporting.published import paths_of

Config = Mapping[str, Any]
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
        if (reads_pictures(encoders[name]) if library is None else encoders[name]["library"] == library)
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


def stores_of(config: Config, dataset: str, model: str, modality: str) -> list[str]:
    """Return the token stores that a row reads of a modality, in order of shards; none where it reads words."""
    encoder = encoder_of(config, dataset, model, modality)
    return [] if encoder is None else _shards(config, dataset, encoder)


def dataset_stores(config: Config, dataset: str, modality: str) -> list[str]:
    """Return the token stores of a dataset's own encoder of a modality, in order of shards."""
    return _shards(config, dataset, config["datasets"][dataset]["encoders"][modality])


def _shards(config: Config, dataset: str, encoder: str) -> list[str]:
    folder = f"results/{data_of(config, dataset)}/features/{store_of(config, encoder)}"
    return [f"{folder}/shard-{shard}.h5" for shard in shards_of(config, dataset)]


def weights_of(config: Config, dataset: str, model: str, fold: str) -> list[str]:
    """Return the weights that score a row's fold, one file for each of its members."""
    return [f"results/{dataset}/{member}/fold-{fold}/model.safetensors" for member in members_of(config, model)]


def encoder_files(config: Config, name: str) -> list[str]:
    """Return the local files an encoder is loaded from: they are inputs, so that another file is seen.

    A hub id or an installed package has none. Files that are neither there nor made here are left out: the check
    that runs first says what is missing, better than a missing input could.
    """
    encoder = config["encoders"][name]
    if encoder.get("weights") is None:
        return []
    random = encoder["weights"] == "random"
    folder = Path(encoder.get("config") or "" if random else encoder["weights"])
    if encoder.get("convert_from") is not None or trained_name(encoder["weights"]):
        return made_here(folder)
    if encoder["library"] == DETECTOR:
        return input_files(encoder["weights"])
    listed = os.listdir(folder) if folder.is_dir() else []
    names = ["config.json", "tokenizer.json", *ENCODER.weights_among(listed)]
    if encoder["library"] == "transformers":
        names += PROCESSOR_FILES
    if encoder["library"] in DUAL_LAYOUTS:
        names = DUAL_LAYOUTS[encoder["library"]].wanted_among(listed)
    return [str(folder / name) for name in names if (folder / name).is_file()]


def pretrain_files(config: Config, name: str) -> list[str]:
    """Return the files that a pretraining reads, as far as they are there or made here; not its pictures."""
    block = config["pretraining"][name]
    table = block["data"].get("file")
    fetched = [f"{nct_crc.FOLDER}/{part}.unpacked" for part in nct_crc.PARTS if block["data"].get("download")]
    tables = [table] if table and Path(table).is_file() else []
    return [*start_files(block, converted_weights(config)), *tables, *fetched]


def bert_files(config: Config, model: str) -> list[str]:
    """Return the local files that a cross-encoder's BERT is loaded from; none for a hub id or an installed package."""
    block = config["models"][model]
    folder = Path(block["config"] if block["weights"] == "random" else block["weights"])
    names = ("config.json", "tokenizer.json", "vocab.txt", "model.safetensors", "pytorch_model.bin")
    return [str(folder / name) for name in names if (folder / name).is_file()]


def source_files(config: Config, name: str) -> list[str]:
    """Return the files that a dataset's records are read from, as far as they are there or made by a rule."""
    dataset = config["datasets"][name]
    kind = dataset["kind"]
    if kind == "precomputed":
        return files_of(dataset)
    if kind in ARCHIVES and dataset["download"]:
        unpacked = [f"{dataset['root']}/{archive}.unpacked" for archive in ARCHIVES[kind]]
        own = str(dataset.get("split_file"))  # a split of one's own for the images that are fetched
        return [*unpacked, own] if not own.startswith(f"{dataset['root']}/") and Path(own).is_file() else unpacked
    listed = {
        "arch": [f"{dataset.get('root')}/{archive}/captions.json" for archive in ARCHIVES["arch"]],
        "coco": [str(dataset.get("split_file")), *annotation_files(str(dataset.get("root"))).values()],
        "pairs": [str(dataset.get("file"))],
        "synthetic": [],
    }[kind]
    return [path for path in listed if Path(path).is_file()]


def token_files(config: Config, dataset: str, encoder: str) -> list[str]:
    """Return the files that an encoder of published regions reads, as far as they are there."""
    block = config["encoders"][encoder]
    if block["library"] == "npy":
        return [path for path in source_files(config, dataset) if path.endswith(".npy")]
    return [path for path in block["files"] if Path(path).is_file()]


def published_files(config: Config, table: str) -> list[str]:
    """Return the files of published figures that a table shows: none, one, or one for each protocol."""
    return paths_of(config["tables"][table]["published"])


def table_runs(config: Config, table: str) -> list[tuple[str, str, int]]:
    """Return (dataset, model, fold) of every run that a table shows, in the table's order."""
    block = config["tables"][table]
    return [(block["dataset"], model, fold) for model in block["models"] for fold in folds_of(config, block["dataset"])]


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
