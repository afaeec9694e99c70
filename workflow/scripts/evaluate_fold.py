"""Evaluate one trained fold on its test images: metrics.json and ranks.npz out."""

from __future__ import annotations

import json
import logging
from argparse import ArgumentParser, Namespace
from pathlib import Path

import torch

from lile.evaluation.fold import evaluate_fold
from lile.evaluation.inputs import FoldFiles
from lile.script import run_script


def work(args: Namespace) -> None:
    torch.set_num_threads(args.threads)
    files = FoldFiles(args.images_store, args.texts_store, args.images, args.descriptions, args.folds)
    metrics = evaluate_fold(args.config_json, files, args.run_dir / "model.safetensors", args.out_dir)
    for name, protocol in metrics["protocols"].items():
        figures = (protocol[key] for key in ("Rsum", "chance_Rsum", "ceiling_Rsum"))
        logging.info("%s protocol: R@sum %.1f (chance %.1f, ceiling %.1f)", name, *figures)


if __name__ == "__main__":
    parser = ArgumentParser("evaluate_fold", description=__doc__)
    parser.add_argument("--config-json", type=json.loads, required=True)
    parser.add_argument("--images-store", type=Path, nargs="+", required=True)
    parser.add_argument("--texts-store", type=Path, nargs="+", required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--descriptions", type=Path, required=True)
    parser.add_argument("--folds", type=Path, required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--out-dir", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    run_script(parser, work)
