"""Ablations: what changes when one part of a model does. Each becomes models and tables like any other.

A block ``ablations.<name>`` names the model it starts from and its rows, either as values of the model's keys
(``vary``) or as blocks laid over the model (``rows``). From it follow a model for every row that the config does not
hold yet, and a table ``{dataset}_{name}`` for every dataset. A row whose block equals one of the config's models *is*
that model, so that nothing is trained twice: the starting model's own value, or a row of another ablation.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from lile.config_checks import model_error, nowhere
from lile.config_schema import problems, refuse
from lile.overlay import overlaid

Config = Mapping[str, Any]
Block = dict[str, Any]

_LONGEST_NAME = 96  # a model's name is a folder's; a file system takes 255 bytes


@dataclass
class _Derived:
    """What follows from the ablations read so far."""

    models: dict[str, Block] = field(default_factory=dict)
    tables: dict[str, Block] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def derive(config: Config, schema: Mapping[str, Any]) -> tuple[dict[str, Block], dict[str, Block]]:
    """Return the models and tables that the ablations of a config stand for and that it does not hold yet.

    Names do not depend on the order of keys, and nothing follows from a config that holds what follows from it.

    Args:
        config: valid by the schema, with defaults; left as it is.
        schema: of the whole config; a derived block is checked and completed like one that was written.

    Returns:
        (models, tables) by name, complete.

    Raises:
        InputError: an unknown key, a bad value, a name that leads nowhere or is taken. All that is wrong is listed,
            each line with its ablation and row.
    """
    found = _Derived()
    for name in sorted(config["ablations"]):
        rows = list(_rows_of(config, schema, name, found))
        for dataset in _datasets_of(config, name, found):
            _add_table(config, schema, name, dataset, rows, found)
    refuse(found.wrong)
    return found.models, found.tables


def _rows_of(config: Config, schema: Mapping[str, Any], name: str, found: _Derived) -> Iterator[tuple[str, str]]:
    """Yield (label, model) of each row of an ablation, and note what is wrong."""
    ablation, where = config["ablations"][name], f"ablations.{name}"
    if ablation["model"] not in config["models"]:
        found.wrong.append(nowhere(f"{where}.model", ablation["model"], "models", config["models"]))
        return
    if bool(ablation["vary"]) == bool(ablation["rows"]):
        found.wrong.append(f"{where}: needed is either vary (values of the model's keys) or rows (labelled blocks)")
        return
    shown: dict[str, str] = {}
    for label, change in _changes(ablation):
        row = f"{where}, row {label!r}"
        block, wrong = _varied(config["models"][ablation["model"]], change, schema)
        if wrong:
            found.wrong += [f"{row}: {line}" for line in wrong]
            continue
        model = _named(config, ablation["model"], block, row, found)
        if model in shown:
            found.wrong.append(f"{row}: the same model as row {shown[model]!r}; leave one of them out")
            continue
        shown[model] = label
        yield label, model


def _changes(ablation: Config) -> Iterator[tuple[str, Block]]:
    """Yield (label, what is laid over the model); several keys to vary make every combination of their values."""
    for label, change in ablation["rows"].items():
        yield str(label), change
    if ablation["vary"]:
        for values in itertools.product(*ablation["vary"].values()):
            pairs = list(zip(ablation["vary"], values, strict=True))
            laid: Block = {}
            for key, value in pairs:
                laid = overlaid(laid, _nested(key, value))
            yield ", ".join(f"{key} = {_text(value)}" for key, value in pairs), laid


def _nested(key: str, value: Any) -> Block:
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def _varied(base: Block, change: Block, schema: Mapping[str, Any]) -> tuple[Block, list[str]]:
    """Return the changed model, complete, and what is wrong with it.

    A change that breaks what the model's preset promises makes the row's preset ``custom``: what a table says of a
    row stays true, and no ablation has to say so itself.
    """
    block = overlaid(deepcopy(base), deepcopy(change))
    wrong = problems({"models": {"row": block}}, schema)  # fills in the defaults
    if wrong:
        return block, [line.removeprefix("models.row").lstrip(".: ") for line in wrong]
    said = model_error(block)
    if said and "preset" not in change and model_error({**block, "preset": "custom"}) is None:
        return {**block, "preset": "custom"}, []
    return block, [said] if said else []


def _named(config: Config, base: str, block: Block, row: str, found: _Derived) -> str:
    """Return the name of the model with this block; where there is none yet, it is added."""
    known = {**config["models"], **found.models}
    same = sorted(name for name in known if known[name] == block)
    if same:
        return base if base in same else same[0]
    name = _name(base, config["models"][base], block)
    if name in known:
        found.wrong.append(f"{row}: would be called {name}, but models.{name} is another model; rename that one")
    found.models[name] = block
    return name


def _name(base: str, before: Block, after: Block) -> str:
    """Return the base's name with every key that differs and its value, such as ``lile__steps_3``."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    parts = [f"{key}_{_text(value)}" for key, value in new.items() if key not in old or old[key] != value]
    parts = [part for part in parts if not part.startswith("preset_")]
    name = "__".join([base, *(re.sub(r"[^a-z0-9]+", "_", part.lower()).strip("_") for part in sorted(parts))])
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{base}__{sha256(json.dumps(after, sort_keys=True).encode()).hexdigest()[:8]}"


def _leaves(block: Config, above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in block.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _datasets_of(config: Config, name: str, found: _Derived) -> list[str]:
    """Return the datasets that an ablation has tables of: those it names, or all."""
    ablation = config["ablations"][name]
    for key in ("datasets", "published"):
        missing = [dataset for dataset in ablation[key] or [] if dataset not in config["datasets"]]
        where = f"ablations.{name}.{key}"
        found.wrong += [nowhere(where, dataset, "datasets", config["datasets"]) for dataset in missing]
    chosen = ablation["datasets"]
    if chosen is None:
        return sorted(config["datasets"])
    return [dataset for dataset in chosen if dataset in config["datasets"]]


def _numbers(config: Config, ablation: str, rows: list[tuple[str, str]], found: _Derived) -> Block:
    """Return the one number that an ablation varies, by row, for its plot; nothing where it varies something else."""
    known = {**config["models"], **found.models}
    keys = list(config["ablations"][ablation]["vary"])
    values = {model: dict(_leaves(known[model])).get(key) for _, model in rows for key in keys}
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values.values())
    return {"vary": keys[0], "values": values} if len(keys) == 1 and numeric else {}


def _add_table(
    config: Config,
    schema: Mapping[str, Any],
    ablation: str,
    dataset: str,
    rows: list[tuple[str, str]],
    found: _Derived,
) -> None:
    """Note the table of an ablation on a dataset, unless the config holds the very same."""
    name = f"{dataset}_{ablation}"
    table: Block = {
        "dataset": dataset,
        "models": [model for _, model in rows],
        "labels": {model: label for label, model in rows},
        "published": deepcopy(config["ablations"][ablation]["published"].get(dataset)),
        **_numbers(config, ablation, rows, found),
    }
    if not rows or problems({"tables": {name: table}}, schema):  # which fills in the defaults
        return  # said already, row by row
    taken = {**config["tables"], **found.tables}.get(name)
    if taken is None:
        found.tables[name] = table
    elif taken != table:
        found.wrong.append(f"ablations.{ablation}: its table on {dataset} is {name}, but that is taken; rename one")
