"""Rule duplicates: images.csv, captions.csv, descriptions.csv -> duplicates.csv."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.data.duplicates import find_duplicates
from lile.data.records import read_captions, read_descriptions, read_images
from lile.files import write_csv
from lile.script import run_script


def work(args: Namespace) -> None:
    config = json.loads(args.config_json)
    tables = read_images(args.images), read_captions(args.captions), read_descriptions(args.descriptions)
    bits, pictures = config["near_duplicate_bits"], config["pictures"]
    write_csv(args.out, find_duplicates(*tables, bits, args.threads, pictures))


if __name__ == "__main__":
    parser = ArgumentParser(prog="duplicates", description=__doc__)
    parser.add_argument("--config-json", required=True, help="JSON object: near_duplicate_bits, pictures")
    parser.add_argument("--images", type=Path, required=True, help="images.csv")
    parser.add_argument("--captions", type=Path, required=True, help="captions.csv")
    parser.add_argument("--descriptions", type=Path, required=True, help="descriptions.csv")
    parser.add_argument("--threads", type=int, default=1, help="processes that look at images")
    parser.add_argument("--out", type=Path, required=True, help="duplicates.csv")
    run_script(parser, work)
