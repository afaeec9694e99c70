"""Replay the run files of one dataset and model into MLflow and write a receipt."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.files import write_json
from lile.script import run_script
from lile.tracking.replay import track


def work(args: Namespace) -> None:
    config = json.loads(args.config_json)
    dataset, model = config["dataset"], config["model"]
    folders = [args.results / dataset / model / f"fold-{fold}" for fold in range(config["folds"])]
    receipt = track(dataset, model, folders, config["tracking"]["uri"], args.results)
    write_json(args.out, receipt)


if __name__ == "__main__":
    parser = ArgumentParser("track", description=__doc__)
    parser.add_argument(
        "--config-json", required=True, help='{"dataset", "model", "folds": count, "tracking": {"uri"}}'
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="the results folder")
    parser.add_argument("--out", type=Path, required=True, help="the receipt")
    run_script(parser, work)
