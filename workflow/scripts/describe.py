"""Rule describe: captions.csv -> descriptions.csv."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.data.records import read_captions
from lile.data.sentences import descriptions_of
from lile.files import write_csv
from lile.script import run_script


def work(args: Namespace) -> None:
    config = json.loads(args.config_json)
    write_csv(args.out, descriptions_of(read_captions(args.captions), config["descriptions"]))


if __name__ == "__main__":
    parser = ArgumentParser(prog="describe", description=__doc__)
    parser.add_argument("--config-json", required=True, help="JSON object: descriptions (sentences or whole)")
    parser.add_argument("--captions", type=Path, required=True, help="captions.csv")
    parser.add_argument("--out", type=Path, required=True, help="descriptions.csv")
    run_script(parser, work)
