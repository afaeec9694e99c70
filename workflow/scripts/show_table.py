"""Print a finished table and where it lies: show_table.py results/tables/demo.csv."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.reporting.show import render_for_terminal
from lile.script import run_script


def work(args: Namespace) -> None:
    sys.stdout.write(render_for_terminal(args.table))


if __name__ == "__main__":
    parser = ArgumentParser(prog="show_table", description=__doc__)
    parser.add_argument("table", type=Path, help="the table's .csv or .md")
    run_script(parser, work)
