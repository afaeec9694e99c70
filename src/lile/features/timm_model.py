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
from lile.features.weights import origin_of, random_digest, resolve_weights, weight_files, weights_digest
from lile.files import digest_of
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
    said = {"model_args": config.model_args, "weights_keys": config.weights_keys}
    asked = {name: value for name, value in said.items() if value is not None}
    if random:
        digest = random_digest(hub_config | asked, seed)
    else:
        digest = digest_of({"weights": weights_digest(folder)} | asked) if asked else weights_digest(folder)
    arguments = _arguments(config.model_args or {})
    if not random and config.weights_keys is not None:
        arguments["pretrained_cfg_overlay"] = _chosen_tensors(folder, config.weights_keys)
    with own_randomness(seed_for(seed, "encoder", digest)):
        model = _create(folder, pretrained=not random, **arguments)
        # A model with learned positions is built anew at another size; timm resamples its positions then.
        size = getattr(getattr(model, "patch_embed", None), "img_size", None)
        if size is not None and tuple(size) != (config.image_size_px,) * 2:
            with own_randomness(seed_for(seed, "encoder", digest)):
                model = _create(folder, pretrained=not random, img_size=config.image_size_px, **arguments)
    origin: dict[str, Any] = {"origin": RANDOM if random else origin_of(hub_config), "weights_digest": digest}
    return model.eval(), origin | asked


def _arguments(model_args: dict[str, Any]) -> dict[str, Any]:
    """Put timm's classes where the config has names for them."""
    from timm.layers import GluMlp, Mlp, SwiGLU, SwiGLUPacked

    layers = {"mlp": Mlp, "glu": GluMlp, "swiglu": SwiGLU, "swiglu_packed": SwiGLUPacked}
    name = model_args.get("mlp_layer")
    if name is None:
        return dict(model_args)
    if name not in layers:
        raise InputError(f"encoders: model_args.mlp_layer is {name!r}; it is one of {', '.join(layers)}")
    return model_args | {"mlp_layer": layers[name]}


def _chosen_tensors(folder: Path, keys: dict[str, str]) -> dict[str, Any]:
    """Return, as settings for timm, those tensors of a checkpoint that are the encoder's, under the encoder's names."""
    from timm.models import load_state_dict

    # timm takes off what parallel training puts before every name.
    prefix, path = keys.get("prefix", "").removeprefix("module."), weight_files(folder)[0]
    try:
        found = load_state_dict(str(path))
    except Exception as error:  # torch and safetensors each raise kinds of their own
        raise InputError(f"{path}: the weights cannot be read: {' '.join(str(error).split())[:300]}") from error
    chosen = {
        keys.get("becomes", "") + name.removeprefix(prefix): tensor
        for name, tensor in found.items()
        if name.startswith(prefix)
    }
    if not chosen:
        raise InputError(
            f"{path}: no tensor begins with {prefix!r}; some of it are {sorted(found)[:3]}. Set weights_keys.prefix to "
            "what stands before the encoder's own names"
        )
    return {"source": "", "file": "", "state_dict": chosen}


def unweighted(config: EncoderConfig, place: Path | str) -> Any:
    """Return a model of which only the shapes are real: it needs no weights, no memory and no time.

    Args:
        config: of an image encoder of timm.
        place: the folder with its config.json, or an architecture of timm.

    Raises:
        InputError: it cannot be built.
    """
    import torch

    if isinstance(place, Path):
        _hub_config(place)
    arguments = _arguments(config.model_args or {})
    with torch.device("meta"):
        model = _create(place, pretrained=False, **arguments)
        size = getattr(getattr(model, "patch_embed", None), "img_size", None)
        if size is not None and tuple(size) != (config.image_size_px,) * 2:
            model = _create(place, pretrained=False, img_size=config.image_size_px, **arguments)
    return model.eval()


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


def _create(place: Path | str, *, pretrained: bool, **arguments: Any) -> Any:
    import timm

    # The classifier stays until the weights are in: timm loads strictly only where its size is the published one.
    try:
        name = f"local-dir:{place}" if isinstance(place, Path) else place
        return timm.create_model(name, pretrained=pretrained, **arguments)
    except Exception as error:  # timm, torch and safetensors each raise kinds of their own on files that do not fit
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{place}: the model cannot be built from it: {reason}") from error
