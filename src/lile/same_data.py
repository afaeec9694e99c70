"""Datasets that have the same data as another one, and divide or evaluate them in another way.

Such a dataset takes all of the other's keys but ``folds`` and ``evaluation``, in which it may differ. Its records and
tokens are the other's files (:func:`lile.lists.data_of`): nothing is read or extracted twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from lile.config_checks import nowhere
from lile.config_schema import refuse
from lile.overlay import overlaid

OWN = ("folds", "evaluation")
"""What such a dataset may say for itself; what it leaves out of these is the other's, too."""


def take_over(config: dict[str, Any]) -> None:
    """Fill in, in place, the keys of every dataset with ``same_data_as``. Taking over twice changes nothing.

    Args:
        config: expanded, not yet checked: what is no dataset at all is left to the schema.

    Raises:
        InputError: a name that leads nowhere, back, or to a dataset that itself stands on another; a key that differs.
    """
    datasets = config.get("datasets")
    if not isinstance(datasets, dict):
        return
    blocks = {name: block for name, block in datasets.items() if isinstance(block, dict)}
    second = {name: block for name, block in blocks.items() if isinstance(block.get("same_data_as"), str)}
    refuse([line for name, block in second.items() for line in _wrong(blocks, name, block)])
    for name, block in second.items():
        datasets[name] = overlaid(deepcopy(blocks[block["same_data_as"]]), block)


def _wrong(blocks: Mapping[str, Any], name: str, block: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with one dataset and how to mend it."""
    other = block["same_data_as"]
    where = f"datasets.{name}.same_data_as"
    first = blocks.get(other, {}).get("same_data_as")
    if other == name:
        yield f"{where}: it names itself; name the dataset whose data it shares, or leave it out"
    elif other not in blocks:
        yield nowhere(where, other, "datasets", [known for known in blocks if known != name])
    elif first is not None:
        yield f"{where}: {other} has itself the same data as {first}; name {first}"
    else:
        for key in block.keys() - {*OWN, "same_data_as"}:
            if block[key] != blocks[other].get(key):
                yield (
                    f"datasets.{name}.{key}: differs from datasets.{other}.{key}, but with same_data_as only "
                    f"{' and '.join(OWN)} may. Leave it out, or make it a dataset of its own"
                )
