"""The command line that both scripts of a cross-encoder share."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.cross.inputs import CrossFiles
from lile.evaluation.arguments import fold_files, fold_parser


def cross_parser(name: str, description: str | None) -> ArgumentParser:
    """Return a parser with what says which fold, made of what, re-ranking whose shortlist.

    Args:
        name: of the script, for its messages.
        description: of the script, for its help.
    """
    parser = fold_parser(name, description)
    parser.add_argument("--regions-store", type=Path, nargs="+", required=True)
    parser.add_argument("--base-weights", type=Path, nargs="+", required=True, help="of the row that is re-ranked")
    parser.add_argument("--tags", type=Path, nargs="?", default=None, help="CSV of image_id, tags")
    return parser


def cross_files(args: Namespace) -> CrossFiles:
    """Set the number of threads, and return where the fold's inputs lie."""
    return CrossFiles(fold_files(args), args.base_weights, args.regions_store, args.tags)
