"""Rule download_archive: one published archive -> a zip file, checked, unless unpacked already; and what it is."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.data.fetch import fetch_archive
from lile.files import write_json
from lile.script import run_script


def work(args: Namespace) -> None:
    config = json.loads(args.config_json)
    expected = {"size": config.get("size"), "sha256": config.get("sha256")}
    write_json(args.record, fetch_archive(config["url"], args.zip, args.folder, **expected))


if __name__ == "__main__":
    parser = ArgumentParser(prog="download_archive", description=__doc__)
    parser.add_argument(
        "--config-json", required=True, help="JSON object: url, size, sha256 (size, sha256 may be null)"
    )
    parser.add_argument("--zip", type=Path, required=True, help="the archive, made here")
    parser.add_argument("--folder", type=Path, required=True, help="where it is unpacked to later, or was before")
    parser.add_argument("--record", type=Path, required=True, help="JSON file: url, size and sha256")
    run_script(parser, work)
