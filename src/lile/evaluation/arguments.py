"""The command line that the scripts of a fold share: its config and its input files."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.evaluation.inputs import FoldFiles


def fold_parser(name: str, description: str | None) -> ArgumentParser:
    """Return a parser with the arguments that say which fold, made of what, on how many threads.

    Args:
        name: of the script, for its messages.
        description: of the script, for its help.
    """
    parser = ArgumentParser(name, description=description)
    parser.add_argument("--config-json", type=json.loads, required=True)
    parser.add_argument("--images-store", type=Path, nargs="+", required=True)
    parser.add_argument("--texts-store", type=Path, nargs="*", default=[], help="none for a row that reads words")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--descriptions", type=Path, required=True)
    parser.add_argument("--folds", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    return parser


def fold_files(args: Namespace) -> FoldFiles:
    """Set the number of threads, and return where the fold's inputs lie."""
    import torch

    torch.set_num_threads(args.threads)
    return FoldFiles(args.images_store, args.texts_store, args.images, args.descriptions, args.folds)
