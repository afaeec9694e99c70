"""A model's weights as one safetensors file that says what it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from lile.errors import InputError
from lile.files import replacing


def write_weights(path: Path, weights: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Write tensors as safetensors with a text record ``about``, atomically."""
    from safetensors.torch import save_file

    with replacing(path) as part:
        tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
        save_file(tensors, part, {"format": "lile-model/1", **about})


def load_weights(model: nn.Module, path: Path) -> None:
    """Load safetensors into ``model``, every name and shape in its place.

    Raises:
        InputError: the file does not fit the model; the first names that differ are given.
    """
    from safetensors.torch import load_file

    result = model.load_state_dict(load_file(path), strict=False)
    if result.missing_keys or result.unexpected_keys:
        raise InputError(
            f"{path} does not fit {type(model).__name__}: missing {result.missing_keys[:5]}, "
            f"unexpected {result.unexpected_keys[:5]}"
        )
