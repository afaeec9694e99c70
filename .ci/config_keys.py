"""Print the table of config keys for config/README.md, from the schema: .ci/config_keys.py [--write]."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
README = ROOT / "config" / "README.md"
MARK = "<!-- keys: written by .ci/config_keys.py --write -->\n"


def rows(schema: dict[str, Any], node: dict[str, Any], path: str) -> Iterator[str]:
    """Yield a line for every key under ``node``."""
    for branch in node.get("allOf", []):
        key, asked = next(iter(branch["if"]["properties"].items()))
        values = " or ".join(asked.get("enum", [asked.get("const")]))
        yield f"| **{path.rstrip('.')}** | | *with {key}: {values}* |"
        yield from rows(schema, resolved(schema, branch["then"]), path)
    if "allOf" in node:
        return
    for name, below in node.get("properties", {}).items():
        entry = {**resolved(schema, below), **{key: value for key, value in below.items() if key != "$ref"}}
        default = "needed" if name in node.get("required", []) else f"`{json.dumps(entry.get('default'))}`"
        if "properties" in entry or isinstance(entry.get("additionalProperties"), dict):
            default = ""
        choices = f" One of {', '.join(f'`{item}`' for item in entry['enum'])}." if "enum" in entry else ""
        yield f"| `{path}{name}` | {default} | {entry['description']}{choices} |"
        yield from rows(schema, entry, f"{path}{name}.")
        if isinstance(entry.get("additionalProperties"), dict):
            yield from rows(schema, resolved(schema, entry["additionalProperties"]), f"{path}{name}.<name>.")


def resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """Return the definition a ``$ref`` names, or the node itself."""
    return schema["$defs"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node


def table() -> str:
    """Return the Markdown table of all keys."""
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    return (
        "\n".join(["| key | default | what it says |", "|---|---|---|", *dict.fromkeys(rows(schema, schema, ""))])
        + "\n"
    )


if __name__ == "__main__":
    if "--write" in sys.argv:
        above, _, _ = README.read_text(encoding="utf-8").partition(MARK)
        README.write_text(above + MARK + table(), encoding="utf-8")
    else:
        sys.stdout.write(table())
