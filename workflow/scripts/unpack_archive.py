"""Rule unpack_archive: a published archive -> a folder, and a marker that it is whole; then the archive is removed."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.data.unpack import unpack_archive
from lile.files import write_json
from lile.script import run_script


def work(args: Namespace) -> None:
    config, record = json.loads(args.config_json), json.loads(args.record.read_text(encoding="utf-8"))
    layout = {key: config[key] for key in ("root_file", "alone")}
    known = {key: record[key] for key in ("size", "sha256")}
    write_json(args.marker, unpack_archive(args.zip, args.folder, **known, **layout, keep=args.keep))


if __name__ == "__main__":
    parser = ArgumentParser(prog="unpack_archive", description=__doc__)
    parser.add_argument(
        "--config-json", required=True, help="JSON object: root_file, alone (lile.data.archives.Layout)"
    )
    parser.add_argument("--zip", type=Path, required=True, help="the archive")
    parser.add_argument("--record", type=Path, required=True, help="what download_archive wrote of it")
    parser.add_argument("--folder", type=Path, required=True, help="made, whole or not there")
    parser.add_argument("--marker", type=Path, required=True, help="written when the folder is there")
    parser.add_argument("--keep", action="store_true", help="leave the archive where it is")
    run_script(parser, work)
