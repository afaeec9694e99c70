"""Check a finished table: its shape, and that ours is well above chance. check_table.py TABLE.csv [--times 3]."""

from __future__ import annotations

import csv
import math
import sys
from argparse import ArgumentParser
from pathlib import Path

COLUMNS = (
    "table", "dataset", "row", "source", "preset", "encoders", "protocol", "direction", "metric", "mean", "std",
    "low", "high", "std_seeds", "letters", "folds", "note",
)  # fmt: skip
BESIDE = (
    ".md", ".tex", ".wide.csv", ".folds.csv", ".tests.csv", ".vs_paper.csv", ".recall.png", ".curves.png",
    ".similarity.png", ".manifest.json",
)  # fmt: skip
METRIC = "R10"


def problems(path: Path, times: float) -> list[str]:
    """Return what is wrong with the table; nothing if all is well."""
    with path.open(encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle)
        rows = list(reader)
    if tuple(reader.fieldnames or ()) != COLUMNS:
        return [f"columns are {reader.fieldnames}, not {list(COLUMNS)}"]
    found = [f"{path.stem}{suffix} is missing" for suffix in BESIDE if not path.with_suffix(suffix).is_file()]
    found += [f"not a number: {row}" for row in rows if row["mean"] and not math.isfinite(float(row["mean"]))]
    ours = sorted({row["row"] for row in rows if row["source"] == "ours"})
    if not ours:
        found.append("no row of ours")
    for name in ours:
        for direction in ("i2t", "t2i"):
            reached, chance = (value_of(rows, row, direction) for row in (name, "chance"))
            verdict = "ok" if reached >= times * chance else "TOO LOW"
            line = (
                f"{name} {direction} {METRIC}: {reached:.1f}, chance {chance:.1f}, {times:g} times asked for: {verdict}"
            )
            sys.stdout.write(f"{line}\n")
            if verdict != "ok":
                found.append(line)
    return found


def value_of(rows: list[dict[str, str]], name: str, direction: str) -> float:
    """Return the mean recall of a row, own-captions protocol, in percent."""
    wanted = {"row": name, "direction": direction, "metric": METRIC, "protocol": "own"}
    values = [float(row["mean"]) for row in rows if all(row[key] == value for key, value in wanted.items())]
    if len(values) != 1:
        sys.exit(f"{len(values)} rows with {wanted}, not one")
    return values[0]


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--times", type=float, default=3.0, help="how many times chance is asked for")
    args = parser.parse_args()
    wrong = problems(args.table, args.times)
    if wrong:
        sys.exit("\n".join([f"{args.table}:", *wrong]))
    sys.stdout.write(f"{args.table}: as it should be\n")
