"""Store the regions of one shard of images, found by a Faster R-CNN, with the features of its box head."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace

import torch

from lile.data.records import read_images
from lile.features.pipeline import best_device
from lile.features.region_detector import load_region_detector
from lile.features.regions_extract import extract_regions
from lile.features.shard_arguments import add_shard_arguments
from lile.script import run_script


def main(args: Namespace) -> None:
    torch.set_num_threads(args.threads)
    config = json.loads(args.config_json)
    detector = load_region_detector(config["encoder"], config["seed"], best_device())
    facts = {"name": config["encoder_name"], "batch_size": detector.config.batch_size, "code": args.code}
    shares = {"shard": args.shard, "shards": args.shards, "threads": args.threads}
    extract_regions(read_images(args.images), detector, args.out, work=args.progress, **shares, **facts)


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    add_shard_arguments(parser, "an object with encoder, encoder_name and seed", "images", computes=True)
    run_script(parser, main)
