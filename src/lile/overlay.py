"""One mapping laid over another: how configs are joined and how an ablation changes a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``below`` with ``above`` over it: mappings key by key at every depth, anything else replaced.

    Neither is changed; what they hold is shared, not copied.
    """
    joined = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(joined.get(key), Mapping)
        joined[key] = overlaid(joined[key], value) if both else value
    return joined
