"""The network that is pretrained: a timm model with a new classifier, and the folder it is saved to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lile.errors import InputError
from lile.features.encoder_config import EncoderConfig
from lile.features.parts import own_randomness
from lile.features.pixels import PixelTransform, pixel_transform
from lile.features.timm_model import build_timm
from lile.features.weights import TRAINED_HERE
from lile.files import replacing, write_json
from lile.models.weights import write_weights
from lile.pretraining.config import PretrainConfig
from lile.seeds import seed_for


@dataclass(frozen=True, kw_only=True)
class Network:
    """A model with a classifier of the data's classes."""

    model: Any
    transform: PixelTransform
    start: dict[str, Any]
    """What training starts from: weights, origin, digest."""


def build_network(config: PretrainConfig, classes: int, seed: int) -> Network:
    """Build the model that training starts from.

    Args:
        config: ``start`` with ``config``, ``image_size_px`` and ``freeze_blocks``.
        classes: of the data.
        seed: the pretraining's own; new weights are drawn from it.

    Raises:
        InputError: weights that are missing or do not fit, more blocks to freeze than there are, or a size of picture
            that the model cannot read.
    """
    block = EncoderConfig(
        weights=config.start, config=config.config, modality="image", library="timm",
        image_size_px=config.image_size_px, trainable_blocks=0,
    )  # fmt: skip
    model, origin = build_timm(block, seed)
    with own_randomness(seed_for(seed, "classifier")):
        model.reset_classifier(classes)
    if config.freeze_blocks:
        _freeze(model, config)
    if not hasattr(model, "blocks") or model.__class__.__name__ == "EfficientNet":
        model.to(memory_format=torch.channels_last)  # convolutions take half the time on a CPU
    _try(model, config, classes)
    start = {"weights": config.start, **origin}
    return Network(model=model, transform=pixel_transform(model, config.image_size_px), start=start)


def _try(model: Any, config: PretrainConfig, classes: int) -> None:
    """Make sure, before any picture is opened, that the model reads pictures of this size and gives logits."""
    size = config.image_size_px
    try:
        with torch.inference_mode():
            logits = model.eval()(torch.zeros(1, 3, size, size))
    except (RuntimeError, AssertionError, AttributeError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"start: {config.start}: no classes for pictures of {size} px: {said}") from error
    if logits.shape != (1, classes):
        raise InputError(
            f"start: {config.start}: a {type(model).__name__} has no plain classifier: asked for {classes} classes, it "
            f"gives {tuple(logits.shape)}. Start from a model that has one"
        )


def _freeze(model: Any, config: PretrainConfig) -> None:
    """Keep the weights of the stem and of the first blocks, as timm divides the model into layers."""
    from timm.models import group_parameters

    if not hasattr(model, "group_matcher"):
        raise InputError(
            f"freeze_blocks: timm names no blocks of a {type(model).__name__}. Set it to 0, or take another"
        )
    layers = group_parameters(model, model.group_matcher(coarse=False))
    blocks = len(layers) - 2  # the first is the stem, the last what follows the blocks: final norm and classifier
    if config.freeze_blocks > blocks:
        raise InputError(
            f"freeze_blocks={config.freeze_blocks}, but {config.start} has {blocks} blocks between stem and classifier"
        )
    kept = {name for layer in sorted(layers)[: config.freeze_blocks + 1] for name in layers[layer]}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in kept)


def train_mode(model: nn.Module) -> None:
    """Set training mode, less what is frozen as a whole: a frozen batch norm must not go on counting."""
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def save_network(folder: Path, network: Network, classes: list[str], trained_on: str) -> None:
    """Write ``config.json`` and ``model.safetensors`` in timm's hub layout, each renamed into place.

    Args:
        folder: an encoder block names it under ``weights``.
        network: trained.
        classes: names, in the order of the classifier's rows.
        trained_on: in words; a table's footer says it of the encoder.
    """
    from timm.models._hub import save_config_for_hf

    path = folder / "config.json"
    size = network.transform.size_px
    with replacing(path) as part:
        save_config_for_hf(network.model, str(part), {"label_names": classes})
        about = json.loads(part.read_text(encoding="utf-8"))
    # What timm works out for this size is what it will resize pictures to; the crop is ours: the whole picture.
    about["pretrained_cfg"] |= {
        "input_size": [3, size, size],
        "interpolation": network.transform.interpolation,
        "mean": list(network.transform.mean),
        "std": list(network.transform.std),
        "crop_pct": 1.0,
        "crop_mode": "squash",
    }
    write_json(path, about | {TRAINED_HERE: trained_on})
    write_weights(folder / "model.safetensors", network.model.state_dict(), {"trained_on": trained_on})
