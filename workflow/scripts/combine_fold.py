"""Record an ensemble's fold, which nothing is trained for: run.json and an empty history.jsonl out."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.script import run_script
from lile.training.combine import combine_fold


def work(args: Namespace) -> None:
    combine_fold(args.config_json, args.runs, args.out_dir, args.code)


if __name__ == "__main__":
    parser = ArgumentParser("combine_fold", description=__doc__)
    parser.add_argument("--config-json", type=json.loads, required=True)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="run.json of each member")
    parser.add_argument("--out-dir", type=Path, required=True)
    parser.add_argument("--code", default="unknown")
    run_script(parser, work)
