"""Checks of a config's dual encoders, before any job: their own keys, and the rows that take their vectors as given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lile.features.layouts import DUAL_LAYOUTS
from lile.lists import encoder_of, members_of


def dual_encoders(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong about dual encoders, one line each with its dotted path.

    Args:
        config: valid by the schema, with defaults; names in it lead somewhere.
    """
    for name, encoder in config["encoders"].items():
        if encoder["library"] in DUAL_LAYOUTS:
            yield from _keys(f"encoders.{name}", encoder)
    shown = {(table["dataset"], model): name for name, table in config["tables"].items() for model in table["models"]}
    for (dataset, model), table in shown.items():
        if lead_somewhere(config, dataset, model):
            for member in members_of(config, model):
                yield from _given(config, dataset, member, table)


def _keys(where: str, encoder: Mapping[str, Any]) -> Iterator[str]:
    library = encoder["library"]
    if encoder["trainable_blocks"] != 0:
        yield (
            f"{where}.trainable_blocks: found {encoder['trainable_blocks']}, but an encoder of {library} is stored "
            "whole. Write trainable_blocks: 0"
        )
    if encoder["weights"] == "random":
        yield f"{where}.weights: random, but an encoder of {library} needs a folder or a hub id"
    if encoder["convert_from"] is not None:
        yield f"{where}.convert_from: not with library {library}; leave it out"


def lead_somewhere(config: Mapping[str, Any], dataset: str, model: str) -> bool:
    """Return whether all names on the way from a row to its encoders are there; where not, another check says so."""
    if dataset not in config["datasets"] or model not in config["models"]:
        return False
    block = config["models"][model]
    if block["kind"] == "trained":
        return True
    below, kinds = (
        (block["members"], ("trained",))
        if block["kind"] == "ensemble"
        else ([block["shortlist"]["model"]], ("trained", "ensemble"))
    )
    # No row stands above one of its own kind: this ends.
    fitting = [name for name in below if name in config["models"] and config["models"][name]["kind"] in kinds]
    return len(fitting) == len(below) and all(lead_somewhere(config, dataset, name) for name in fitting)


def _given(config: Mapping[str, Any], dataset: str, model: str, table: str) -> Iterator[str]:
    """Vectors that are taken as given must come from the two sides of one dual encoder."""
    block = config["models"][model]
    given = [modality for modality in ("image", "text") if block[modality]["pooling"] == "given"]
    names = {modality: str(encoder_of(config, dataset, model, modality)) for modality in given}
    if any(name not in config["encoders"] for name in names.values()):
        return
    encoders = [config["encoders"][name] for name in names.values()]
    where = f"models.{model} (table {table}, dataset {dataset})"
    for (modality, name), encoder in zip(names.items(), encoders, strict=True):
        if encoder["library"] not in DUAL_LAYOUTS:
            yield (
                f"{where}.{modality}.pooling: given, but {name} is an encoder of {encoder['library']}; needed is one "
                f"of {' or '.join(DUAL_LAYOUTS)}. Set models.{model}.encoders.{modality} to one"
            )
            return
    if len({(encoder["library"], encoder["weights"]) for encoder in encoders}) > 1:
        yield (
            f"{where}: pooling given on both sides, but {' and '.join(names.values())} are of two models, "
            f"{' and '.join(encoder['weights'] for encoder in encoders)}. Give both sides of one dual encoder"
        )
