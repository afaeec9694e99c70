"""Rule unpack_arch: a published archive -> a folder with captions.json and images/, and a marker that it is whole."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.data.unpack import unpack
from lile.files import write_json
from lile.script import run_script


def work(args: Namespace) -> None:
    folder = args.out_dir / json.loads(args.config_json)["archive"]
    write_json(args.marker, unpack(args.zip, folder, root_file="captions.json"))


if __name__ == "__main__":
    parser = ArgumentParser(prog="unpack_arch", description=__doc__)
    parser.add_argument("--config-json", required=True, help="JSON object: archive (the folder's name)")
    parser.add_argument("--zip", type=Path, required=True, help="the archive")
    parser.add_argument("--out-dir", type=Path, required=True, help="where the folder is made, whole or not there")
    parser.add_argument("--marker", type=Path, required=True, help="written when the folder is there")
    run_script(parser, work)
