"""Train an encoder by classification of labelled pictures: a folder that an encoder block names, with its record."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.pretraining.run import pretrain
from lile.script import run_script


def work(args: Namespace) -> None:
    pretrain(args.config_json, args.progress, args.out_dir, args.threads, args.code)


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--config-json", type=json.loads, required=True, help="name, seed and pretraining")
    parser.add_argument("--progress", type=Path, required=True, help="folder that outlives a killed job")
    parser.add_argument("--out-dir", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--code", default="unknown")
    run_script(parser, work)
