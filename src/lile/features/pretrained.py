"""Loads a transformers model from a folder in the hub's layout, strictly: nothing of it may stay random."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lile.errors import InputError
from lile.features.encoder_config import RANDOM, EncoderConfig
from lile.features.parts import own_randomness
from lile.features.weights import random_digest, resolve_weights, weights_digest
from lile.seeds import seed_for


def pretrained_model(folder: Path) -> Any:
    """Return the model that ``config.json`` of ``folder`` names, with the folder's weights.

    Raises:
        InputError: it cannot be built or read, or the weights leave a part of it unset.
    """
    from transformers import AutoModel

    try:
        model, found = AutoModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    except Exception as error:  # transformers, torch and safetensors each raise kinds of their own
        raise InputError(f"{folder}: the model cannot be loaded from it: {one_line(error)}") from error
    # transformers fills what a file lacks with random numbers; only what we do not use may be lacking: the pooler, and
    # the token that hides patches in pre-training.
    missing = sorted(name for name in found["missing_keys"] if not _unused(name))
    if missing or found["mismatched_keys"]:
        raise InputError(
            f"{folder}: the weights do not fill a {type(model).__name__}: missing {missing[:3]}, of another shape "
            f"{sorted(found['mismatched_keys'])[:3]}. Check that weights and config.json belong together"
        )
    parts = {name for name, _ in model.named_children()}
    left = sorted(name for name in found["unexpected_keys"] if name.split(".")[0] in parts and not _unused(name))
    if left:  # heads may be left over, but not a piece of the encoder itself
        raise InputError(
            f"{folder}: a {type(model).__name__} has no place for {left[:3]} of the weights. Check that weights and "
            f"config.json belong together: its model_type must name the architecture that made them"
        )
    return model


def _unused(name: str) -> bool:
    # Old files hold the numbers of positions, which are no weights.
    return name.startswith("pooler.") or name.endswith(("mask_token", "position_ids"))


def build_model(config: EncoderConfig, seed: int) -> tuple[Any, Path, dict[str, Any]]:
    """Build the model that ``config`` names.

    Args:
        config: of an image or text encoder.
        seed: the run's seed; random weights are a function of the architecture and of it.

    Returns:
        The model without its pooler, float32 and in evaluation mode; its folder; and ``{"origin", "weights_digest"}``.

    Raises:
        InputError: the weights are missing or do not fit, or the model is of an unknown kind.
    """
    random = config.weights == RANDOM
    folder = Path(str(config.config)) if random else resolve_weights(config.weights, config.layout)
    digest = random_digest(_read_config(folder), seed) if random else weights_digest(folder, config.layout)
    with own_randomness(seed_for(seed, "encoder", digest)), quiet():
        model = _random_model(folder) if random else pretrained_model(folder)
    pooler = getattr(model, "pooler", None)
    if pooler is not None and list(pooler.parameters()):  # an average is left: some models call it without asking
        model.pooler = None
    origin = {"origin": RANDOM if random else "pretrained", "weights_digest": digest}
    return model.float().eval(), folder, origin


def _random_model(folder: Path) -> Any:
    """Return the model that ``config.json`` of ``folder`` describes, with weights drawn from torch's generator.

    Raises:
        InputError: no model can be built from it.
    """
    from transformers import AutoConfig, AutoModel

    try:
        return AutoModel.from_config(AutoConfig.from_pretrained(folder, local_files_only=True))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: no model can be built from its config.json: {one_line(error)}") from error


def _read_config(folder: Path) -> dict[str, Any]:
    """Return ``config.json`` of ``folder``. Raises :class:`InputError` where it cannot be read."""
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / 'config.json'}: no readable config of a transformers model ({error})") from error


def one_line(error: Exception) -> str:
    """Return the beginning of what an error says, on one line."""
    return " ".join(str(error).split())[:300]


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the loading report and bar of transformers: we check and say ourselves what does not fit."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
