"""Train one fold: stored tokens in, model.safetensors, history.jsonl and run.json out."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

import torch

from lile.evaluation.inputs import FoldFiles
from lile.script import run_script
from lile.training.fold import train_fold


def work(args: Namespace) -> None:
    torch.set_num_threads(args.threads)
    files = FoldFiles(args.images_store, args.texts_store, args.images, args.descriptions, args.folds)
    train_fold(args.config_json, files, args.progress, args.out_dir, args.code)


if __name__ == "__main__":
    parser = ArgumentParser("train_fold", description=__doc__)
    parser.add_argument("--config-json", type=json.loads, required=True)
    parser.add_argument("--images-store", type=Path, nargs="+", required=True)
    parser.add_argument("--texts-store", type=Path, nargs="+", required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--descriptions", type=Path, required=True)
    parser.add_argument("--folds", type=Path, required=True)
    parser.add_argument("--progress", type=Path, required=True)
    parser.add_argument("--out-dir", type=Path, required=True)
    parser.add_argument("--code", default="unknown")
    parser.add_argument("--threads", type=int, default=1)
    run_script(parser, work)
