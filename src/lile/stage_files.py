"""The files that jobs read, as far as the config names them: they are inputs, so that another file is seen.

All functions take a config that :func:`lile.config.prepare` has completed.
"""

from __future__ import annotations

import os
from pathlib import Path

from lile.data import nct_crc
from lile.data.archives import ARCHIVES, annotation_files
from lile.data.precomputed_files import files_of
from lile.features.detector_config import input_files
from lile.features.layouts import DUAL_LAYOUTS, ENCODER, PROCESSOR_FILES
from lile.features.libraries import DETECTOR
from lile.lists import Config, converted_weights, data_of, encoder_of, members_of, shards_of, store_of
from lile.pretrained_here import made_here, start_files, trained_name
from lile.reporting.published import paths_of


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
