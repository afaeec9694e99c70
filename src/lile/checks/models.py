"""Whether the models of a dataset's tables can be built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lile.checks.findings import Check, failed, passed, warned
from lile.config_checks import row_config
from lile.cross.config import CrossConfig
from lile.errors import InputError
from lile.features.layouts import has_tokenizer
from lile.features.weights import local_weights, weights_available


def check_models(config: Mapping[str, Any], dataset: str) -> Iterator[Check]:
    """Yield one finding for each model that a table shows on this dataset.

    Args:
        config: complete; ``models`` and ``tables`` may be absent where only the data are checked.
        dataset: a key of ``datasets``.
    """
    if "tables" not in config:
        return
    # Ablations have a table of every dataset: whoever wrote none of their own is told all the same.
    ablations = {f"{dataset}_{name}" for name in config.get("ablations", {})}
    shown = {name: table["models"] for name, table in config["tables"].items() if table["dataset"] == dataset}
    names = dict.fromkeys(name for models in shown.values() for name in models)
    if not shown.keys() - ablations:
        yield warned("tables", f"no table shows {dataset}", f"add a block under tables with dataset: {dataset}")
    for name in names:
        if "__" not in name:  # a row of an ablation: checked when the config was read, and one of many like it
            yield check_model(name, config["models"].get(name))


def check_model(name: str, block: Mapping[str, Any] | None) -> Check:
    """Return what was found of one model's config, a block of ``models``."""
    title = f"model {name}"
    if block is None:
        return failed(title, "not in the config", f"add models.{name}, or name another in the table")
    try:
        return passed(title, _described(block))
    except InputError as error:
        return failed(title, str(error), f"change models.{name}")


def _described(block: Mapping[str, Any]) -> str:
    """Return a row in a few words. Raises :class:`InputError` where its keys clash."""
    model = row_config(block)
    if block.get("kind") == "cross_encoder":
        cross = CrossConfig.from_dict(block)
        return f"re-ranks the best {cross.shortlist.top} of {cross.shortlist.model}; {_cross_files(cross)}"
    if model is None:
        return f"{block['kind']} of {', '.join(block['members'])}"
    if model.preset in ("paper", "scaled"):
        return f"preset {model.preset}, {model.maps} maps of {model.width}, {model.steps} steps"
    sides = f"image {model.image.pooling}, text {model.text.pooling} from {model.text.source}"
    return f"preset {model.preset}, {sides}, width {model.width}, matching {model.matching.kind}"


def _cross_files(cross: CrossConfig) -> str:
    """Return where a cross-encoder's BERT is. Raises :class:`InputError` for files that are not there."""
    there, where = weights_available(cross.weights)
    if not there:
        raise InputError(where)
    folder = Path(cross.config) if cross.config is not None else local_weights(cross.weights)
    if folder is not None and not (folder / "config.json").is_file():
        raise InputError(f"{folder}: no config.json; name the folder of a BERT")
    if folder is not None and not has_tokenizer(folder):
        raise InputError(f"{folder}: no tokenizer; put tokenizer.json or vocab.txt of the same BERT into it")
    if cross.tags is not None and not Path(cross.tags).is_file():
        raise InputError(f"tags: {cross.tags} is not there; name a CSV with image_id and tags, or set it to null")
    return where
