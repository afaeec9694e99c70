"""Draw how long a dataset's captions and descriptions are: captions.csv, descriptions.csv -> caption_lengths.png."""

from __future__ import annotations

import json
import logging
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.data.records import read_captions, read_descriptions
from lile.reporting.caption_lengths import lengths_of, plot_lengths, said_of
from lile.script import run_script


def work(args: Namespace) -> None:
    config = json.loads(args.config_json)
    texts = [read_captions(args.captions)["text"].tolist(), read_descriptions(args.descriptions)["text"].tolist()]
    lengths = lengths_of(*texts, config["encoder"])
    for unit, found in lengths.items():
        for kind, values in found.items():
            logging.info("%s in %s", said_of(kind, values), unit)
    plot_lengths(config["dataset"], config["kind"], lengths, config["encoder"]["max_tokens"], args.out)


if __name__ == "__main__":
    parser = ArgumentParser(prog="caption_lengths", description=__doc__)
    parser.add_argument("--config-json", required=True, help="JSON object: dataset, kind, encoder")
    parser.add_argument("--captions", type=Path, required=True, help="captions.csv")
    parser.add_argument("--descriptions", type=Path, required=True, help="descriptions.csv")
    parser.add_argument("--out", type=Path, required=True, help="caption_lengths.png")
    run_script(parser, work)
