"""Compute one share of a fold's score blocks: a file for evaluate_fold.py out."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from lile.evaluation.arguments import fold_files, fold_parser
from lile.evaluation.fold import score_share
from lile.script import run_script


def work(args: Namespace) -> None:
    score_share(args.config_json, fold_files(args), args.weights, args.out, args.work, args.share, args.of)


if __name__ == "__main__":
    parser = fold_parser("score_blocks", __doc__)
    parser.add_argument("--weights", type=Path, nargs="+", required=True, help="one file; an ensemble has several")
    parser.add_argument("--share", type=int, required=True, help="which share, from 0")
    parser.add_argument("--of", type=int, required=True, help="how many shares there are")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="finished score blocks are kept here until the end")
    run_script(parser, work)
