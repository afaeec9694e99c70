"""The config: read, joined, expanded, checked, and complete with defaults.

Light on purpose: the Snakefile is parsed again in every job and calls :func:`prepare` each time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from lile.ablations import derive
from lile.config_checks import check_references
from lile.config_schema import complete
from lile.data.archives import ARCHIVES
from lile.errors import InputError
from lile.overlay import overlaid
from lile.same_data import take_over

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: the project is used from there, with its Snakefile, config and schema."""

SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
BASE = ROOT / "config" / "config.yaml"

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same result, ten times as fast where libyaml is there

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<otherwise>:-[^}]*)?\}")


def load(paths: Sequence[Path], base: Path | None = BASE) -> dict[str, Any]:
    """Read config files, each laid over the one before, and prepare the result.

    Joins as Snakemake does with ``--configfile``: mappings key by key at every depth, anything else replaced.

    Args:
        paths: overlays, the last one wins.
        base: what they are laid over; ``None`` for nothing.

    Returns:
        The complete config, as :func:`prepare` gives it.

    Raises:
        InputError: a file is missing or is no YAML mapping, or the joined config is not valid.
    """
    joined: dict[str, Any] = {}
    files = [*([base] if base is not None else []), *paths]
    for path in files:
        joined = overlaid(joined, _read(path))
    try:
        return prepare(joined)
    except InputError as error:
        names = " + ".join(str(path) for path in files)
        raise InputError(f"{names}: {error}") from None


def prepare(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checked copy of ``config`` with variables expanded, defaults filled in and ablations derived.

    ``${VAR}`` and ``${VAR:-default}`` in strings become the environment variable's value. Calling it on its own
    result changes nothing.

    Args:
        config: what YAML gave, for instance Snakemake's ``config``.

    Raises:
        InputError: an unknown key, a value of the wrong type or range, a name that leads nowhere, a variable that is
            not set. All that is wrong is listed, each with its dotted path.
    """
    expanded = {key: _expanded(value, str(key)) for key, value in deepcopy(dict(config)).items()}
    schema = read_schema()
    take_over(expanded)
    complete(expanded, schema)
    _settle_paths(expanded)
    check_references(expanded)
    models, tables = derive(expanded, schema)
    expanded["models"] |= models
    expanded["tables"] |= tables
    if tables:
        check_references(expanded)  # a derived row on a dataset whose encoders do not suit it
    return expanded


def read_schema() -> dict[str, Any]:
    """Return the JSON schema of the config. Raises :class:`InputError` outside of a checkout."""
    if not SCHEMA.is_file():
        raise InputError(f"{SCHEMA}: not found. LILE runs from its checkout: install it with 'make setup' there")
    schema: dict[str, Any] = yaml.load(SCHEMA.read_text(encoding="utf-8"), Loader=_LOADER)
    return schema


def _read(path: Path) -> dict[str, Any]:
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Name a config file that exists") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds a {type(value).__name__}, not keys with values (key: value)")
    return value


def _expanded(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _expanded(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _variable(found, where), value)
    return value


def _variable(found: re.Match[str], where: str) -> str:
    name, otherwise = found["name"], found["otherwise"]
    value = os.environ.get(name)
    if value:
        return value
    if otherwise is None:
        raise InputError(f"{where}: the environment variable {name} is not set; set it, or write ${{{name}:-default}}")
    return otherwise.removeprefix(":-")


def _settle_paths(config: dict[str, Any]) -> None:
    """Fill in paths whose default follows from a name, and find shipped files from any working folder."""
    for name, dataset in config["datasets"].items():
        if dataset["kind"] in ARCHIVES and dataset["root"] is None:
            dataset["root"] = f"resources/{dataset['same_data_as'] or name}"
        if dataset["kind"] == "coco" and dataset["split_file"] is None:
            unpacked = "split/" if dataset["download"] else ""
            dataset["split_file"] = f"{dataset['root']}/{unpacked}dataset_coco.json"
    blocks = [*config["encoders"].values(), *config["pretraining"].values()]
    shipped = [(block, "config") for block in blocks if "config" in block]
    for block in config["tables"].values():
        shipped += _published_in(block, "published")
    for ablation in config["ablations"].values():
        shipped += [
            place for dataset in ablation["published"] for place in _published_in(ablation["published"], dataset)
        ]
    for block, key in shipped:
        path = block[key]
        if path and not Path(path).exists() and (ROOT / path).exists():
            # Relative, so that two checkouts plan the same jobs: an absolute path would be another parameter.
            block[key] = os.path.relpath(ROOT / path)


def _published_in(block: dict[str, Any], key: str) -> list[tuple[dict[str, Any], str]]:
    """Return where the paths of published figures stand: one, or one for each protocol."""
    value = block[key]
    return [(value, protocol) for protocol in value] if isinstance(value, dict) else [(block, key)]
