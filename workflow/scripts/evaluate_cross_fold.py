"""Evaluate one trained cross-encoder on its fold's test shortlists: metrics.json, ranks.npz and trec/ out."""

from __future__ import annotations

import logging
from argparse import Namespace
from pathlib import Path

from lile.cross.arguments import cross_files, cross_parser
from lile.cross.evaluate import evaluate_cross_fold
from lile.script import run_script


def work(args: Namespace) -> None:
    metrics = evaluate_cross_fold(args.config_json, cross_files(args), args.weights, args.out_dir, args.work)
    for name, protocol in metrics["protocols"].items():
        figures = (protocol[key] for key in ("Rsum", "chance_Rsum", "ceiling_Rsum"))
        logging.info("%s protocol: R@sum %.1f (chance %.1f, ceiling %.1f)", name, *figures)


if __name__ == "__main__":
    parser = cross_parser("evaluate_cross_fold", __doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="finished scores are kept here until the end")
    run_script(parser, work)
