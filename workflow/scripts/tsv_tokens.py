"""Store one shard of a dataset's regions, out of TSV files of bottom-up attention."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.data.records import read_images
from lile.features.bottom_up import store_bottom_up
from lile.features.shard_arguments import add_shard_arguments
from lile.script import run_script


def main(args: Namespace) -> None:
    config = json.loads(args.config_json)
    files = [Path(file) for file in config["encoder"]["files"]]
    facts = {"name": config["encoder_name"], "shard": args.shard, "shards": args.shards, "code": args.code}
    store_bottom_up(read_images(args.images), files, config["encoder"]["columns"], args.out, **facts)


if __name__ == "__main__":
    parser = ArgumentParser("tsv_tokens", description=__doc__)
    add_shard_arguments(parser, "an object with encoder (files, columns) and encoder_name", "images", computes=False)
    run_script(parser, main)
