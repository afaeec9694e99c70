"""Evaluate one trained fold on its test images: metrics.json and ranks.npz out."""

from __future__ import annotations

import logging
from argparse import Namespace
from pathlib import Path

from lile.evaluation.arguments import fold_files, fold_parser
from lile.evaluation.fold import evaluate_fold
from lile.script import run_script


def work(args: Namespace) -> None:
    metrics = evaluate_fold(args.config_json, fold_files(args), args.weights, args.out_dir, args.work, args.shares)
    for name, protocol in metrics["protocols"].items():
        figures = (protocol[key] for key in ("Rsum", "chance_Rsum", "ceiling_Rsum"))
        logging.info("%s protocol: R@sum %.1f (chance %.1f, ceiling %.1f)", name, *figures)


if __name__ == "__main__":
    parser = fold_parser("evaluate_fold", __doc__)
    parser.add_argument("--weights", type=Path, nargs="+", required=True, help="one file; an ensemble has several")
    parser.add_argument("--out-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="finished score blocks are kept here until the end")
    parser.add_argument("--shares", type=Path, nargs="*", default=[], help="score blocks that other jobs computed")
    run_script(parser, work)
