"""Read COCO, or files of its split's format, into images.csv, captions.csv, report.csv and report.md."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.data.coco import read_coco
from lile.data.records import write_records
from lile.script import run_script


def main(args: Namespace) -> None:
    cfg = json.loads(args.config_json)
    write_records(read_coco(cfg, cfg["verify"], args.threads), args.out_dir)


if __name__ == "__main__":
    parser = ArgumentParser("read_coco", description=__doc__)
    parser.add_argument("--config-json", required=True, help="the dataset's block of the config, and its name")
    parser.add_argument("--out-dir", required=True, type=Path, help="results/{dataset}/data")
    parser.add_argument("--threads", type=int, default=1, help="processes that look at images")
    run_script(parser, main)
