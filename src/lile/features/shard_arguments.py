"""The command line that every script which writes a shard has, so that a printed command reads alike for all."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path


def add_shard_arguments(parser: ArgumentParser, config: str, table: str, *, computes: bool) -> None:
    """Add the arguments of a script that writes one shard of a token store.

    Args:
        parser: of the script.
        config: what ``--config-json`` holds, in words.
        table: the data stage's table whose items are stored, without its ending: also the argument's name.
        computes: the shard takes long to make: threads help, and a killed job goes on.
    """
    parser.add_argument("--config-json", required=True, help=config)
    parser.add_argument(f"--{table}", type=Path, required=True, help=f"{table}.csv")
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="the shard's file")
    parser.add_argument("--code", help="fingerprint of the code, kept with the tokens")
    if computes:
        parser.add_argument("--progress", type=Path, help="folder that outlives a killed job; named by config and code")
        parser.add_argument("--threads", type=int, default=1)
