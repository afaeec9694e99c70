"""Read a folder of regions and captions into images.csv, captions.csv, report.csv and report.md."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.data.precomputed import read_precomputed
from lile.data.records import write_records
from lile.script import run_script


def main(args: Namespace) -> None:
    write_records(read_precomputed(json.loads(args.config_json)), args.out_dir)


if __name__ == "__main__":
    parser = ArgumentParser("read_precomputed", description=__doc__)
    parser.add_argument("--config-json", required=True, help="the dataset's block of the config, and its name")
    parser.add_argument("--out-dir", required=True, type=Path, help="results/{dataset}/data")
    run_script(parser, main)
