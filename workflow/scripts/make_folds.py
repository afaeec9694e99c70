"""Rule make_folds: images.csv -> folds.csv."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.data.folds import make_folds
from lile.data.links import read_duplicates
from lile.data.records import read_images
from lile.files import write_csv
from lile.script import run_script


def work(args: Namespace) -> None:
    config = json.loads(args.config_json)
    duplicates = read_duplicates(*args.duplicates) if args.duplicates else None
    folds = make_folds(read_images(args.images), **config["folds"], seed=config["seed"], duplicates=duplicates)
    write_csv(args.out, folds)


if __name__ == "__main__":
    parser = ArgumentParser(prog="make_folds", description=__doc__)
    parser.add_argument(
        "--config-json",
        required=True,
        help="JSON object: folds {by, count, group_by, validation, seeds, near_duplicates}, seed",
    )
    parser.add_argument("--images", type=Path, required=True, help="images.csv")
    parser.add_argument("--duplicates", type=Path, nargs="*", help="duplicates.csv, for near_duplicates: together")
    parser.add_argument("--out", type=Path, required=True, help="folds.csv")
    run_script(parser, work)
