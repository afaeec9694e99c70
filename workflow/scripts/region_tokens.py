"""Store the regions of one shard of images, found by a Faster R-CNN, with the features of its box head."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

import torch

from lile.data.records import read_images
from lile.features.pipeline import best_device
from lile.features.region_detector import load_region_detector
from lile.features.regions_extract import extract_regions
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
    parser.add_argument("--config-json", required=True, help="an object with encoder, encoder_name and seed")
    parser.add_argument("--images", type=Path, required=True, help="images.csv")
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="the shard's file")
    parser.add_argument("--progress", type=Path, help="folder that outlives a killed job; named by config and code")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--code", help="fingerprint of the code, kept with the tokens")
    run_script(parser, main)
