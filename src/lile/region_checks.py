"""Checks of regions in a config, before any job: which encoder can read which dataset, and what each needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from lile.encoder_checks import lead_somewhere
from lile.features.libraries import REGION_VIT, TSV_COLUMNS
from lile.lists import encoder_of, has_pictures, store_of

_WITHOUT_NUMBERS = ("arch", "synthetic")


def regions(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong about regions, one line each with its dotted path.

    Args:
        config: valid by the schema, with defaults.
    """
    for name, encoder in config["encoders"].items():
        yield from _columns(f"encoders.{name}.columns", encoder)
        yield from _boxes(config, f"encoders.{name}.boxes", encoder)
    for name, dataset in config["datasets"].items():
        if dataset["kind"] == "precomputed":
            yield from _splits(f"datasets.{name}", dataset)
    for (dataset, encoder), where in _used(config).items():
        yield from _readable(config, where, dataset, encoder)


def _columns(where: str, encoder: Mapping[str, Any]) -> Iterator[str]:
    missing = [column for column in TSV_COLUMNS if column not in encoder.get("columns", TSV_COLUMNS)]
    if missing:
        yield f"{where}: {', '.join(missing)} not among them; name the file's columns in order, these six as here"


def _boxes(config: Mapping[str, Any], where: str, encoder: Mapping[str, Any]) -> Iterator[str]:
    """A ViT can be told only the boxes that there are."""
    source = config["encoders"].get(encoder.get("source"), {})
    if encoder.get("library") == REGION_VIT and encoder["boxes"] and source.get("library") == "npy":
        yield f"{where}: true, but {encoder['source']} is of library npy, whose files hold no boxes. Set boxes: false"


def _splits(where: str, dataset: Mapping[str, Any]) -> Iterator[str]:
    words = Counter(word for word in dataset["splits"].values() if word is not None)
    twice = [word for word, times in words.items() if times > 1]
    if twice:
        yield f"{where}.splits: two splits begin with {twice[0]}; give each files of its own, or null for one"
    missing = [name for name in ("train", "test") if dataset["splits"][name] is None]
    if missing and dataset["folds"]["by"] == "split":
        yield f"{where}.splits.{missing[0]}: null, but folds.by: split needs it; use cross_validation, or name it"
    if not words:
        yield f"{where}.splits: all null; name the word that the files of one begin with"


def _used(config: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Return for each dataset and image encoder that reads it where the config says so."""
    used = {
        (name, block["encoders"]["image"]): f"datasets.{name}.encoders.image"
        for name, block in config["datasets"].items()
    }
    for table, block in config["tables"].items():
        for model in block["models"]:
            if lead_somewhere(config, block["dataset"], model):
                encoder = encoder_of(config, block["dataset"], model, "image")
                used.setdefault((block["dataset"], str(encoder)), f"tables.{table}: the image encoder of {model}")
    return {(dataset, encoder): where for (dataset, encoder), where in used.items() if _known(config, encoder)}


def _known(config: Mapping[str, Any], encoder: str) -> bool:
    """Whether an encoder of images stands behind a name; where not, another check says so."""
    if config["encoders"].get(encoder, {}).get("modality") != "image":
        return False
    return store_of(config, encoder) in config["encoders"]


def _readable(config: Mapping[str, Any], where: str, dataset: str, encoder: str) -> Iterator[str]:
    """Check that a dataset has what an encoder reads."""
    kind = config["datasets"][dataset]["kind"]
    store = store_of(config, encoder)
    library = config["encoders"][store]["library"]
    if library == "npy" and kind != "precomputed":
        yield (
            f"{where}: {store} is of library npy, which reads datasets of kind precomputed alone; {dataset} is of kind "
            f"{kind}. Take faster_rcnn, or bottom_up where you have its files"
        )
    if library not in ("npy", "bottom_up") and not has_pictures(config, dataset):
        yield (
            f"{where}: {store} is of library {library}, which reads pictures; {dataset} is of kind {kind}, without "
            f"any. Take an encoder of library npy, or bottom_up"
        )
    if library == "bottom_up" and kind in _WITHOUT_NUMBERS:
        yield (
            f"{where}: {store} is of library bottom_up, whose files name images by number; a dataset of kind {kind} "
            f"has none. Take one of kind coco, pairs or precomputed"
        )
