"""Write Flickr8k's captions.json as Karpathy publishes his splits, so that the reader of COCO's format has real input.

flickr8k_coco.yaml, beside this file, says how to call it.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from lile.files import write_json

SPLITS = {"train": "train", "validation": "val", "val": "val", "test": "test"}


def karpathy(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return rows of ``{filename, split, captions}`` in the layout of ``dataset_flickr8k.json``."""
    images: list[dict[str, Any]] = []
    sentences = 0
    for number, row in enumerate(rows):
        ids = list(range(sentences, sentences + len(row["captions"])))
        sentences += len(ids)
        images.append(
            {
                "filename": row["filename"],
                "imgid": number,
                "split": SPLITS[row["split"]],
                "sentids": ids,
                "sentences": [
                    {"raw": raw, "tokens": raw.lower().split(), "imgid": number, "sentid": sentid}
                    for sentid, raw in zip(ids, row["captions"], strict=True)
                ],
            }
        )
    return {"images": images, "dataset": "flickr8k"}


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("captions", type=Path, help="Flickr8k's captions.json")
    parser.add_argument("out", type=Path, help="the file to write")
    args = parser.parse_args()
    write_json(args.out, karpathy(json.loads(args.captions.read_text(encoding="utf-8"))))
