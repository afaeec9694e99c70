"""Turn published MobileNet v1 arrays (.npz) into a folder that timm loads: config.json and model.safetensors."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.features.mobilenet import convert
from lile.script import run_script


def main(args: Namespace) -> None:
    convert(args.source, args.out)


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True, help="the .npz of Keras' arrays")
    parser.add_argument("--out", type=Path, required=True, help="folder for config.json and model.safetensors")
    run_script(parser, main)
