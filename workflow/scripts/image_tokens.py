"""Store the tokens of one shard of images, made by the frozen part of an image encoder."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace

import torch

from lile.data.records import read_images
from lile.features.extract import extract_image_tokens
from lile.features.image_encoder import load_image_encoder
from lile.features.shard_arguments import add_shard_arguments
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
    add_shard_arguments(parser, "an object with encoder, encoder_name and seed", "images", computes=True)
    run_script(parser, main)
