"""Encoders with random weights at the sizes people use, and drawn photographs for them.

Shapes: B pictures of a batch.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.machine import ROOT
from lile.features.image_encoder import ImageEncoder, load_image_encoder
from lile.features.text_encoder import TextEncoder, load_text_encoder

SIZE_PX = (500, 375)  # of a photograph, as COCO's and Flickr's mostly are
WORDS = "a sheet of large cells with dense nuclei and few mitoses in the stroma beside a gland of the colon"


def photographs(folder: Path, count: int, size_px: tuple[int, int] = SIZE_PX) -> pd.DataFrame:
    """Write drawn JPEGs of a photograph's detail into ``folder``; return their ``image_id`` and ``path``."""
    drawn = np.random.default_rng(0)
    paths = [folder / f"{number:06d}.jpg" for number in range(count)]
    for path in paths:
        coarse = Image.fromarray(drawn.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize(size_px)
        noise = drawn.normal(0, 6, (size_px[1], size_px[0], 3))
        pixels = np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path, quality=90)
    return pd.DataFrame({"image_id": [path.stem for path in paths], "path": list(map(str, paths))})


def captions(count: int) -> pd.DataFrame:
    """Return drawn captions of 8 to 16 words, each with its ``text_id`` and ``text``."""
    drawn = np.random.default_rng(1)
    texts = [" ".join(drawn.choice(WORDS.split(), int(drawn.integers(8, 17)))) for _ in range(count)]
    return pd.DataFrame({"text_id": [f"{number:016x}" for number in range(count)], "text": texts})


def image_encoder(folder: Path, architecture: str, size_px: int, trained: int, **model: Any) -> ImageEncoder:
    """Return an image encoder of timm with random weights, whose last ``trained`` blocks are its top."""
    config = json.loads((ROOT / "config/encoders/tiny_vit/config.json").read_text(encoding="utf-8"))
    config |= {"architecture": architecture, "model_args": model}
    # A ViT is built for one size of pictures; a network of convolutions takes any, and no size as an argument.
    config["pretrained_cfg"] |= {"input_size": [3, size_px, size_px], "fixed_input_size": "patch" in architecture}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    block = {"weights": "random", "config": str(folder), "image_size_px": size_px, "trainable_blocks": trained}
    return load_image_encoder({"modality": "image", "library": "timm", **block}, 0)


def text_encoder(folder: Path, trained: int, **model: Any) -> TextEncoder:
    """Return a RoBERTa with random weights, whose last ``trained`` layers are its top."""
    shutil.copytree(ROOT / "config/encoders/tiny_roberta", folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | model
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    block = {"weights": "random", "config": str(folder), "max_tokens": 64, "trainable_blocks": trained}
    return load_text_encoder({"modality": "text", "library": "transformers", **block}, 0)
