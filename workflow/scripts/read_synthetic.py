"""Rule read_synthetic: nothing -> drawn images, images.csv, captions.csv, report.csv, report.md."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.data.records import write_records
from lile.data.synthetic.archive import write_archive
from lile.script import run_script


def work(args: Namespace) -> None:
    config = json.loads(args.config_json)
    images_dir = args.images_dir or args.out_dir / "images"
    threads = args.threads or len(os.sched_getaffinity(0))
    records = write_archive(
        images_dir, config["seed"], config["items"], config["size_px"], config["dataset"], workers=threads
    )
    write_records(records, args.out_dir)


if __name__ == "__main__":
    parser = ArgumentParser(prog="read_synthetic", description=__doc__)
    parser.add_argument("--config-json", required=True, help="JSON object: dataset (its name), items, size_px, seed")
    parser.add_argument("--out-dir", type=Path, required=True, help="for the tables: results/{dataset}/data")
    parser.add_argument("--images-dir", type=Path, help="for the images; images/ in the folder of tables if not given")
    parser.add_argument("--threads", type=int, default=0, help="processes that draw; all cores if not given")
    run_script(parser, work)
