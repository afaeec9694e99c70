"""Store one shard of a dataset's regions, out of its .npy files."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.data.records import read_images
from lile.features.npy_regions import store_npy_regions
from lile.script import run_script


def main(args: Namespace) -> None:
    name = json.loads(args.config_json)["encoder_name"]
    facts = {"name": name, "shard": args.shard, "shards": args.shards, "code": args.code}
    store_npy_regions(read_images(args.images), args.out, **facts)


if __name__ == "__main__":
    parser = ArgumentParser("npy_tokens", description=__doc__)
    parser.add_argument("--config-json", required=True, help="an object with encoder_name")
    parser.add_argument("--images", type=Path, required=True, help="images.csv")
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="the shard's file")
    parser.add_argument("--code", help="fingerprint of the code, kept with the tokens")
    run_script(parser, main)
