"""Rule leaks: folds.csv, duplicates.csv -> leaks.csv, leaks.json."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.data.leaks import find_leaks
from lile.data.links import read_duplicates
from lile.data.records import read_folds
from lile.files import write_csv, write_json
from lile.script import run_script


def work(args: Namespace) -> None:
    rows, counts = find_leaks(read_folds(args.folds), read_duplicates(args.duplicates))
    write_csv(args.out, rows)
    write_json(args.counts, json.loads(args.config_json) | counts)


if __name__ == "__main__":
    parser = ArgumentParser(prog="leaks", description=__doc__)
    parser.add_argument("--config-json", required=True, help="JSON object: dataset, near_duplicate_bits, pictures")
    parser.add_argument("--folds", type=Path, required=True, help="folds.csv")
    parser.add_argument("--duplicates", type=Path, required=True, help="duplicates.csv")
    parser.add_argument("--out", type=Path, required=True, help="leaks.csv")
    parser.add_argument("--counts", type=Path, required=True, help="leaks.json")
    run_script(parser, work)
