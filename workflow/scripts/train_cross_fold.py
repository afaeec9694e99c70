"""Train one fold of a cross-encoder: stored tokens in, model.safetensors, history.jsonl and run.json out."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from lile.cross.arguments import cross_files, cross_parser
from lile.cross.train import train_cross_fold
from lile.script import run_script


def work(args: Namespace) -> None:
    train_cross_fold(args.config_json, cross_files(args), args.progress, args.out_dir, args.code)


if __name__ == "__main__":
    parser = cross_parser("train_cross_fold", __doc__)
    parser.add_argument("--progress", type=Path, required=True)
    parser.add_argument("--out-dir", type=Path, required=True)
    parser.add_argument("--code", default="unknown")
    run_script(parser, work)
