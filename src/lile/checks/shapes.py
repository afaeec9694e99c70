"""How many tokens an encoder makes of an item, and how wide they are: from config files and shapes, never from weights.

A model that is on this machine, or whose architecture timm knows by name, is built without memory (torch's meta device)
and run on shapes alone. Of others the published shapes are known here; of what neither knows, nothing is said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lile.checks.survey import Survey
from lile.errors import InputError
from lile.features.encoder_config import RANDOM, EncoderConfig
from lile.features.layouts import has_tokenizer
from lile.features.libraries import REGION_VIT
from lile.features.weights import local_weights

DETECTOR_WIDTH = 1024
"""Of the box head of torchvision's Faster R-CNN."""
BOTTOM_UP = (36, 2048)
"""Regions and width of the files that most of the field uses; the adaptive ones have 10 to 100 of an image."""

# (side of a patch in pixels, tokens beside the patches, width) of models whose repositories are gated or have no
# architecture of timm in their name; by hub id.
PATCHES = {
    "MahmoodLab/UNI": (16, 1, 1024),
    "MahmoodLab/UNI2-h": (14, 9, 1536),
    "MahmoodLab/CONCH": (16, 1, 768),
    "paige-ai/Virchow": (14, 1, 1280),
    "paige-ai/Virchow2": (14, 5, 1280),
    "prov-gigapath/prov-gigapath": (16, 1, 1536),
    "bioptimus/H-optimus-0": (14, 5, 1536),
    "bioptimus/H-optimus-1": (14, 5, 1536),
    "owkin/phikon": (16, 1, 768),
    "owkin/phikon-v2": (16, 1, 1024),
    "histai/hibou-b": (14, 5, 768),
    "histai/hibou-L": (14, 5, 1024),
    "facebook/dinov2-base": (14, 1, 768),
    "facebook/dinov2-large": (14, 1, 1024),
}
# Widths by hub id; a dual encoder's is that of its joint space.
WIDTHS = {
    "FacebookAI/roberta-base": 768,
    "FacebookAI/roberta-large": 1024,
    "allenai/biomed_roberta_base": 768,
    "google-bert/bert-base-uncased": 768,
    "distilbert/distilbert-base-uncased": 768,
    "answerdotai/ModernBERT-base": 768,
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext": 768,
    "openai/clip-vit-base-patch32": 512,
    "openai/clip-vit-large-patch14": 768,
    "openai/clip-vit-large-patch14-336": 768,
    "kakaobrain/align-base": 640,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """What an encoder stores of an item.

    Attributes:
        tokens: of an image, at most; of a text it is 0: that depends on the text.
        width: H.
        boxes: whether each token has its box.
    """

    tokens: int
    width: int
    boxes: bool = False


def stored_shape(block: Mapping[str, Any], survey: Survey | None, root: Path) -> Shape | None:
    """Return what an encoder stores of an item; ``None`` where no file and no table says it.

    Args:
        block: of ``encoders``; not a region ViT, which has no store.
        survey: the dataset's counts, where it is there.
        root: the working folder.
    """
    library = block.get("library", "timm")
    assert library != REGION_VIT, "a region ViT has no store"
    if library == "faster_rcnn":
        return Shape(tokens=block["regions"], width=DETECTOR_WIDTH, boxes=True)
    if library == "bottom_up":
        return Shape(tokens=BOTTOM_UP[0], width=_lines_width(block, root) or BOTTOM_UP[1], boxes=True)
    if library == "npy":
        found = survey.regions if survey else None
        return None if found is None else Shape(tokens=found[0], width=found[1])
    return _of_block(json.dumps(dict(block), sort_keys=True), root.absolute())


def _lines_width(block: Mapping[str, Any], root: Path) -> int | None:
    """The width of a TSV file's first line; ``None`` where it cannot be read, of which another check speaks."""
    from lile.features.bottom_up import width_of

    try:
        return width_of(root / block["files"][0], block["columns"])
    except InputError:
        return None


@cache
def _of_block(block: str, root: Path) -> Shape | None:
    """The same of a block as JSON: rows share encoders, and a large model is not built twice."""
    values = json.loads(block)
    try:
        return _of_model(EncoderConfig.from_dict(values, values["modality"]), root)
    except Exception:  # an estimate must not stop a check; what is wrong with an encoder has a line of its own
        return None


@cache
def measured_tokens(block: str, texts: tuple[str, ...], root: Path) -> float | None:
    """Return the mean number of tokens of some texts, markers included; ``None`` where the tokenizer is not here.

    Args:
        block: of ``encoders``, of modality text, as JSON.
        texts: a sample.
        root: the working folder.
    """
    values = json.loads(block)
    try:
        encoder = EncoderConfig.from_dict(values, "text")
        folder = _folder(encoder, root)
        if folder is None or not texts or not has_tokenizer(folder):
            return None
        from lile.features.transformers_model import load_tokenizer

        ids = load_tokenizer(folder)(list(texts), truncation=True, max_length=encoder.max_tokens)["input_ids"]
    except Exception:  # as above
        return None
    return sum(map(len, ids)) / len(ids)


def _of_model(encoder: EncoderConfig, root: Path) -> Shape | None:
    if encoder.is_dual or encoder.modality == "text":
        width = WIDTHS.get(encoder.weights) or _declared_width(_folder(encoder, root), encoder.is_dual)
        return None if width is None else Shape(tokens=1 if encoder.is_dual else 0, width=width)
    folder = _folder(encoder, root)
    if folder is None and encoder.weights in PATCHES:
        patch_px, others, width = PATCHES[encoder.weights]
        return Shape(tokens=(encoder.image_size_px // patch_px) ** 2 + others, width=width)
    if encoder.library == "timm":
        return _of_timm(encoder, folder)
    return None if folder is None else _of_transformers(encoder, folder)


def _folder(encoder: EncoderConfig, root: Path) -> Path | None:
    """Where its config.json is, on this machine."""
    if encoder.weights == RANDOM:
        return root / str(encoder.config)
    named = root / encoder.weights
    if (named / "config.json").is_file() or (named / "open_clip_config.json").is_file():
        return named
    try:
        return local_weights(encoder.weights, encoder.layout)
    except InputError:
        return None


def _declared_width(folder: Path | None, joint: bool) -> int | None:
    if folder is None:
        return None
    if (folder / "open_clip_config.json").is_file():
        return int(json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]["embed_dim"])
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    keys = ("projection_dim",) if joint else ("hidden_size", "dim", "d_model")
    return next((int(config[key]) for key in keys if key in config), None)


def _of_timm(encoder: EncoderConfig, folder: Path | None) -> Shape | None:
    import timm

    from lile.features import mobilenet
    from lile.features.timm_model import unweighted

    if folder is not None:
        model = unweighted(encoder, folder)
    elif encoder.convert_from is not None:  # the folder is still to be made: its net halves a picture five times
        side = -(-encoder.image_size_px // 32)
        return Shape(tokens=side**2, width=mobilenet.hub_config()["num_features"])
    else:
        name = encoder.weights.rsplit("/", maxsplit=1)[-1].split(".")[0]
        if not timm.is_model(name):
            return None
        model = unweighted(encoder, name)
    return _run(lambda pixels: model.forward_features(pixels), getattr(model, "output_fmt", "NCHW"), encoder)


def _of_transformers(encoder: EncoderConfig, folder: Path) -> Shape:
    import torch
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    with torch.device("meta"):
        model = AutoModel.from_config(config).eval()
    other = getattr(config, "image_size", encoder.image_size_px) != encoder.image_size_px
    also = {"interpolate_pos_encoding": True} if other and config.model_type in ("vit", "deit") else {}
    return _run(lambda pixels: model(pixel_values=pixels, **also).last_hidden_state, "NCHW", encoder)


def _run(features_of: Any, layout: str, encoder: EncoderConfig) -> Shape:
    """Run a model on a shape."""
    import torch

    size = encoder.image_size_px
    with torch.no_grad():
        shape = features_of(torch.empty(1, 3, size, size, device="meta")).shape
    if len(shape) == 4 and layout == "NCHW":
        return Shape(tokens=shape[2] * shape[3], width=shape[1])
    tokens = 1
    for count in shape[1:-1]:
        tokens *= count
    return Shape(tokens=tokens, width=shape[-1])
