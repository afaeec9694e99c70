"""Builds a timm model from a folder in the hub's layout, strictly, or with random weights from its config alone."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from lile.errors import InputError
from lile.features import mobilenet
from lile.features.encoder_config import RANDOM, EncoderConfig
from lile.features.parts import own_randomness
from lile.features.weights import random_digest, resolve_weights, weights_digest
from lile.seeds import seed_for


def build_timm(config: EncoderConfig, seed: int) -> tuple[Any, dict[str, Any]]:
    """Build the model that ``config`` names, in evaluation mode.

    Args:
        config: of an image encoder.
        seed: the run's seed; random weights are a function of the architecture and of it.

    Returns:
        The model with its classifier, and ``{"origin", "weights_digest"}``.

    Raises:
        InputError: the weights are missing or do not fit, or the architecture is unknown.
    """
    random = config.weights == RANDOM
    folder = Path(str(config.config)) if random else resolve_weights(config.weights)
    hub_config = _hub_config(folder)
    digest = random_digest(hub_config, seed) if random else weights_digest(folder)
    with own_randomness(seed_for(seed, "encoder", digest)):
        model = _create(folder, pretrained=not random)
        # A model with learned positions is built anew at another size; timm resamples its positions then.
        size = getattr(getattr(model, "patch_embed", None), "img_size", None)
        if size is not None and tuple(size) != (config.image_size_px,) * 2:
            with own_randomness(seed_for(seed, "encoder", digest)):
                model = _create(folder, pretrained=not random, img_size=config.image_size_px)
    return model.eval(), {"origin": RANDOM if random else "pretrained", "weights_digest": digest}


def _hub_config(folder: Path) -> dict[str, Any]:
    """Read ``config.json`` and make sure that timm knows the architecture."""
    import timm

    path = folder / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        name = found["architecture"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: no config in timm's hub layout, with `architecture` and `pretrained_cfg` ({error!r})"
        ) from error
    if name == mobilenet.ARCHITECTURE:
        mobilenet.register()
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise InputError(f"{path}: timm knows no architecture {name!r}" + (f"; near are {near}" if near else ""))
    return found


def _create(folder: Path, *, pretrained: bool, **arguments: Any) -> Any:
    import timm

    # The classifier stays until the weights are in: timm loads strictly only where its size is the published one.
    try:
        return timm.create_model(f"local-dir:{folder}", pretrained=pretrained, **arguments)
    except Exception as error:  # timm, torch and safetensors each raise kinds of their own on files that do not fit
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{folder}: the model cannot be built from it: {reason}") from error
