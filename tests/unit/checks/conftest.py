"""A working folder with a small dataset of each kind, and a config as the loader gives it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from karpathy import write_coco

FOLDS = {"by": "cross_validation", "count": 2, "seeds": 1, "group_by": "group", "validation": 0.1}
COLUMNS = {"image": "image", "caption": "caption", "group": None, "split": "split", "id": None}


def write_image(path: Path, shade: int = 100) -> None:
    """Write a 16 x 16 PNG."""
    import PIL.Image

    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (16, 16), (shade, 0, 0)).save(path)


def write_table(path: Path, rows: list[dict[str, str]]) -> None:
    """Write a CSV file."""
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six images with a table, and architectures for random weights. The working folder of the test."""
    monkeypatch.chdir(tmp_path)
    words = ["train", "Training", "train", "val", "test", "test"]
    for number in range(6):
        write_image(tmp_path / "own" / "images" / f"{number}.png", number)
    rows = [{"image": f"images/{n}.png", "caption": f"Slide {n}.", "split": word} for n, word in enumerate(words)]
    write_table(tmp_path / "own" / "pairs.csv", rows)
    for name in ("vit", "roberta"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "roberta" / "tokenizer.json").write_text("{}")
    return tmp_path


@pytest.fixture
def config() -> dict[str, Any]:
    """The complete config of that folder."""
    encoders = {"image": "vit", "text": "roberta"}
    common = {"encoders": encoders, "folds": dict(FOLDS), "shards": 1, "verify": "decode", "same_data_as": None}
    common |= {"descriptions": "sentences"}
    archives = {name: {"url": f"https://example.org/{name}.zip"} for name in ("books_set", "pubmed_set")}
    return {
        "seed": 0,
        "datasets": {
            "drawn": {"kind": "synthetic", "items": 200, "size_px": 32, **common},
            "own": {"kind": "pairs", "file": "own/pairs.csv", "root": None, "columns": dict(COLUMNS), **common},
            "arch": {"kind": "arch", "root": "resources/arch", "download": True, "archives": archives, **common},
        },
        "encoders": {
            "vit": {"modality": "image", "library": "timm", "weights": "random", "config": "vit"},
            "roberta": {
                "modality": "text",
                "library": "transformers",
                "weights": "random",
                "config": "roberta",
                "max_tokens": 32,
            },
        },
        "models": {"lile": {"maps": 4, "width": 32}},
        "tables": {"all": {"dataset": "own", "models": ["lile"], "published": None}},
    }


@pytest.fixture
def coco(root: Path, config: dict[str, Any]) -> dict[str, Any]:
    """A tiny COCO in place, as a complete dataset of the config; its paths start at the working folder."""
    write_coco(root / "own" / "coco")
    own = {"root": "own/coco", "split_file": "own/coco/dataset_coco.json", "images": None, "download": False}
    read = {"captions_per_image": 5, "limit": None, "archives": {"split": {"url": "https://example.org/split.zip"}}}
    block = {**config["datasets"]["own"], **own, **read, "kind": "coco", "folds": {**FOLDS, "by": "split", "count": 1}}
    return {key: value for key, value in block.items() if key not in ("file", "columns")}


def write_arch(folder: Path, images: int) -> None:
    """Write both caption files with four rows each, and the first ``images`` images of each."""
    for archive, ending in (("books_set", "png"), ("pubmed_set", "jpg")):
        rows = {str(n): {"caption": f"Figure {n}.", "uuid": f"{archive}-{n}"} for n in range(4)}
        for n in range(images):
            write_image(folder / archive / "images" / f"{archive}-{n}.{ending}")
        (folder / archive).mkdir(parents=True, exist_ok=True)
        (folder / archive / "captions.json").write_text(json.dumps(rows))


@pytest.fixture
def write_splits(root: Path) -> Callable[[list[str]], None]:
    """A function that writes the table anew, an image per given word for its split."""
    return lambda words: write_table(
        root / "own" / "pairs.csv",
        [{"image": f"images/{n}.png", "caption": "c", "split": word} for n, word in enumerate(words)],
    )


@pytest.fixture
def put_arch(root: Path) -> Callable[[int], None]:
    """A function that puts ARCH in its place, with so many images for each half's four rows."""
    return lambda images: write_arch(root / "resources" / "arch", images)
