"""Train one fold: stored tokens in, model.safetensors, history.jsonl and run.json out."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from lile.evaluation.arguments import fold_files, fold_parser
from lile.script import run_script
from lile.training.fold import train_fold


def work(args: Namespace) -> None:
    train_fold(args.config_json, fold_files(args), args.progress, args.out_dir, args.code)


if __name__ == "__main__":
    parser = fold_parser("train_fold", __doc__)
    parser.add_argument("--progress", type=Path, required=True)
    parser.add_argument("--out-dir", type=Path, required=True)
    parser.add_argument("--code", default="unknown")
    run_script(parser, work)
