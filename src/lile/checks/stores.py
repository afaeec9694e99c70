"""Whether the token stores that are there already are whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lile.checks.findings import Check, failed, passed
from lile.errors import InputError


def check_stores(config: Mapping[str, Any], dataset: str, root: Path, *, every_item: bool = False) -> Iterator[Check]:
    """Yield a finding for each damaged shard of a dataset, and one for each encoder whose shards are whole.

    Shards that are not there are no finding: they are made when they are needed.

    Args:
        config: complete.
        dataset: a key of ``datasets``.
        root: the working folder.
        every_item: compare each item with its sums, which reads all of the files; else their indexes alone.
    """
    block = config["datasets"][dataset]
    folder = Path("results") / (block.get("same_data_as") or dataset) / "features"
    for encoder in sorted(config["encoders"]):
        names = [folder / encoder / f"shard-{shard}.h5" for shard in range(block["shards"])]
        there = [name for name in names if (root / name).is_file()]
        damaged = [(name, found) for name in there if (found := _damage(root / name, every_item))]
        for name, found in damaged:
            fix = f"make this shard again, with your --configfile: rm {name} && snakemake --cores all {name}"
            yield failed(f"tokens {encoder}", found, fix)
        if there and not damaged:
            what = "every item is as written" if every_item else "the indexes are as written"
            yield passed(f"tokens {encoder}", f"{len(there)} of {len(names)} shards are there, {what}")


def _damage(path: Path, every_item: bool) -> str:
    """Return what is wrong with a shard; nothing for a whole one."""
    from lile.features.shard import read_index
    from lile.features.shard_reader import read_items

    try:
        read_index(path)
        if every_item:
            for _ in read_items(path):
                pass
    except InputError as error:
        return str(error)
    return ""
