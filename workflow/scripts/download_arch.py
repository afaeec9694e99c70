"""Rule download_arch: one published archive -> a zip file, checked, and what is known of it."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.data.download import download
from lile.files import write_json
from lile.script import run_script


def work(args: Namespace) -> None:
    config = json.loads(args.config_json)
    facts = download(
        config["url"],
        args.out,
        size=config.get("size"),
        sha256=config.get("sha256"),
        # of the first download, and no output of the rule: Snakemake deletes those before it runs a rule again
        record=args.out.with_name(f"{args.out.name}.first.json"),
        by_hand="unpack it, set root to the folder it lies in and download: false (config: this dataset)",
    )
    if args.record is not None:
        write_json(args.record, facts)


if __name__ == "__main__":
    parser = ArgumentParser(prog="download_arch", description=__doc__)
    parser.add_argument(
        "--config-json", required=True, help="JSON object: url, size, sha256 (size, sha256 may be null)"
    )
    parser.add_argument("--out", type=Path, required=True, help="the zip file")
    parser.add_argument("--record", type=Path, help="JSON file: url, size and sha256")
    run_script(parser, work)
