"""How long it takes: rates that the workflow's own records in this folder hold, times what there is to do.

Snakemake's benchmark files have the seconds of each job, and a shard has how many items it stored; a row's history has
the seconds of its epochs. Where there is no record, no time is named.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lile.checks.findings import Check, passed
from lile.errors import InputError
from lile.lists import folds_of

_NOW = re.compile(r"(\d+) of them now in")
"""What the log of a job that can be resumed says of it."""
RULES = ("image_tokens", "region_tokens", "npy_tokens", "tsv_tokens", "text_tokens")


def check_times(
    config: Mapping[str, Any], dataset: str, rows: list[str], stores: Mapping[str, int], root: Path
) -> Iterator[Check]:
    """Yield the times of what was done here before, for as much as there is to do.

    Args:
        config: complete.
        dataset: a key of ``datasets``.
        rows: the rows that are trained.
        stores: the items of each encoder's store.
        root: the working folder.
    """
    rates = {name: rate for name in stores if (rate := token_rate(name, root)) is not None}
    for name, rate in rates.items():
        items = stores[name]
        found = f"about {_hours(items / rate)}: {items:,} items at {rate:.1f} a second, as measured"
        yield passed(f"time store {name}", found)
    known = {row: seconds for row in rows if (seconds := _epoch_seconds(dataset, row, root)) is not None}
    for row, seconds in known.items():
        epochs = config["models"][row]["training"]["epochs"] * len(folds_of(config, dataset))
        found = f"at most {_hours(seconds * epochs)}: {epochs} epochs of {seconds:.0f} s, as measured"
        yield passed(f"time {row}", found)
    unknown = [*(name for name in stores if name not in rates), *([] if known else ["training"])]
    if unknown:
        found = f"no measured rate on this machine yet for {', '.join(unknown)}"
        yield passed("time", f"{found}; the first shard and the first epoch give one, so check again then")


def token_rate(encoder: str, root: Path) -> float | None:
    """Return the items a second that were stored of an encoder in this folder; ``None`` without a record."""
    from lile.features.shard import read_index

    items, seconds = 0, 0.0
    for rule in RULES:
        for record in (root / "results" / "benchmarks" / rule).glob(f"*.{encoder}.*.tsv"):
            dataset, _, shard = record.stem.split(".")
            path = root / "results" / dataset / "features" / encoder / f"shard-{shard}.h5"
            try:
                made = _made_now(root / "results" / "logs" / rule / f"{record.stem}.log", len(read_index(path).ids))
                with record.open(encoding="utf-8", newline="") as handle:
                    took = [float(row["s"]) for row in csv.DictReader(handle, delimiter="\t")]
            except (OSError, InputError, KeyError, ValueError):
                continue
            items, seconds = items + made * len(took), seconds + sum(took)
    return items / seconds if items and seconds else None


def _made_now(log: Path, stored: int) -> int:
    """Return how many items of a shard its last job made: all, but for one that went on where another was killed."""
    said = _NOW.findall(log.read_text(encoding="utf-8")) if log.is_file() else []
    return int(said[-1]) if said else stored


def _epoch_seconds(dataset: str, row: str, root: Path) -> float | None:
    """The mean time of an epoch of a row on this dataset, from its histories."""
    seconds: list[float] = []
    for path in (root / "results" / dataset / row).glob("fold-*/history.jsonl"):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            seconds += [float(json.loads(line)["seconds"]) for line in lines]
        except (OSError, KeyError, ValueError, TypeError):
            continue
    return sum(seconds) / len(seconds) if seconds else None


def _hours(seconds: float) -> str:
    if seconds < 5400:
        return f"{max(1, round(seconds / 60))} min"
    return f"{seconds / 3600:.1f} h"
