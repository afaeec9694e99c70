"""Store one shard of a dataset's regions, out of its .npy files."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace

from lile.data.records import read_images
from lile.features.npy_regions import store_npy_regions
from lile.features.shard_arguments import add_shard_arguments
from lile.script import run_script


def main(args: Namespace) -> None:
    name = json.loads(args.config_json)["encoder_name"]
    facts = {"name": name, "shard": args.shard, "shards": args.shards, "code": args.code}
    store_npy_regions(read_images(args.images), args.out, **facts)


if __name__ == "__main__":
    parser = ArgumentParser("npy_tokens", description=__doc__)
    add_shard_arguments(parser, "an object with encoder_name", "images", computes=False)
    run_script(parser, main)
