"""Store the tokens of one shard of images, made by the frozen part of an image encoder."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

import torch

from lile.data.records import read_images
from lile.features.extract import extract_image_tokens
from lile.features.image_encoder import load_image_encoder
from lile.script import run_script


def main(args: Namespace) -> None:
    torch.set_num_threads(args.threads)
    config = json.loads(args.config_json)
    encoder = load_image_encoder(config["encoder"], config["seed"])
    facts = {"name": config["encoder_name"], "batch_size": config["encoder"].get("batch_size", 32), "code": args.code}
    shares = {"shard": args.shard, "shards": args.shards, "work": args.progress}
    extract_image_tokens(read_images(args.images), encoder, args.out, threads=args.threads, **shares, **facts)


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
