"""Store one shard of a dataset's regions, out of TSV files of bottom-up attention."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.data.records import read_images
from lile.features.bottom_up import store_bottom_up
from lile.script import run_script


def main(args: Namespace) -> None:
    config = json.loads(args.config_json)
    files = [Path(file) for file in config["encoder"]["files"]]
    facts = {"name": config["encoder_name"], "shard": args.shard, "shards": args.shards, "code": args.code}
    store_bottom_up(read_images(args.images), files, config["encoder"]["columns"], args.out, **facts)


if __name__ == "__main__":
    parser = ArgumentParser("tsv_tokens", description=__doc__)
    parser.add_argument("--config-json", required=True, help="an object with encoder (files, columns) and encoder_name")
    parser.add_argument("--images", type=Path, required=True, help="images.csv")
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="the shard's file")
    parser.add_argument("--code", help="fingerprint of the code, kept with the tokens")
    run_script(parser, main)
