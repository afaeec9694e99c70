"""A tiny COCO for tests: a split file in Karpathy's format, COCO's own captions, and images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

SIZES = {"train": 6, "restval": 4, "val": 3, "test": 6}
"""Images of each of Karpathy's words."""
FOLDERS = {"train": "train2014", "restval": "val2014", "val": "val2014", "test": "val2014"}


def entry(cocoid: int, word: str, captions: Sequence[Any] | int = 5) -> dict[str, Any]:
    """One image of a split file, with so many captions or these."""
    texts = [f"Picture {cocoid}, said in way {n}." for n in range(captions)] if isinstance(captions, int) else captions
    folder = FOLDERS[word]
    return {
        "filepath": folder,
        "filename": f"COCO_{folder}_{cocoid:012d}.jpg",
        "imgid": 0,
        "cocoid": cocoid,
        "split": word,
        "sentids": [],
        "sentences": [{"tokens": str(raw).split(), "raw": raw, "imgid": 0, "sentid": 0} for raw in texts],
    }


def entries(sizes: Mapping[str, int] = SIZES) -> list[dict[str, Any]]:
    """Images of all splits, mixed as in the real file; their ids fall, so that order and ids are told apart."""
    words = [word for number in range(max(sizes.values())) for word in sizes if number < sizes[word]]
    return [entry(900 - place, word) for place, word in enumerate(words)]


def write_split(path: Path, images: Sequence[Any], dataset: str | None = "coco") -> Path:
    """Write a split file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"images": images} | ({} if dataset is None else {"dataset": dataset})
    path.write_text(json.dumps(about), encoding="utf-8")
    return path


def write_images(root: Path, images: Sequence[Mapping[str, Any]]) -> None:
    """Write the image of each entry, each with a colour of its own."""
    for number, image in enumerate(images):
        path = root / image.get("filepath", "images") / image["filename"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number * 9 % 256, 90, 200 - number)).save(path)


def write_annotations(root: Path, images: Sequence[Mapping[str, Any]]) -> None:
    """Write COCO's own files of captions for the entries."""
    for folder in ("train2014", "val2014"):
        mine = [image for image in images if image["filepath"] == folder]
        about = {
            "info": {"description": "COCO 2014 Dataset"},
            "images": [{"id": image["cocoid"], "file_name": image["filename"], "license": 3} for image in mine],
            "annotations": [
                {"image_id": image["cocoid"], "id": n, "caption": "Words."} for n, image in enumerate(mine)
            ],
        }
        path = root / "annotations" / f"captions_{folder}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(about), encoding="utf-8")


def write_coco(root: Path, images: Sequence[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Write all of it; return a dataset's block of the config that reads it."""
    images = entries() if images is None else images
    write_images(root, images)
    write_annotations(root, images)
    split = write_split(root / "dataset_coco.json", images)
    return {"root": str(root), "split_file": str(split), "images": None, "captions_per_image": 5, "limit": None}
