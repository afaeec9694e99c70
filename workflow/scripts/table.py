"""Write one table from its models' folds, and show it."""

from __future__ import annotations

import json
import logging
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.reporting.show import render_for_terminal
from lile.reporting.table import write_table
from lile.script import run_script

log = logging.getLogger("lile.table")


def work(args: Namespace) -> None:
    config = json.loads(args.config_json)
    write_table(config, args.results, args.out_dir, sys.argv)
    log.info("\n\n%s", render_for_terminal(args.out_dir / f"{config['table']}.csv"))


if __name__ == "__main__":
    parser = ArgumentParser(prog="table", description=__doc__)
    parser.add_argument("--config-json", required=True, help="table, dataset, kind, models, folds, by, published")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the folds' results")
    parser.add_argument("--out-dir", type=Path, default=Path("results/tables"), help="folder of the table's files")
    run_script(parser, work)
