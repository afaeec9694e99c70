"""A model's weights as one safetensors file that says what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lile.errors import InputError
from lile.files import replacing


def write_weights(path: Path, weights: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors as safetensors with a JSON-able record ``about`` under the metadata key ``lile``, atomically.

    The same tensors and record give the same bytes: one key, because safetensors writes several in no fixed order.
    """
    from safetensors.torch import save_file

    with replacing(path) as part:
        tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
        save_file(tensors, part, {"lile": json.dumps({"format": "lile-model/1", **about}, sort_keys=True)})


def load_weights(model: nn.Module, path: Path) -> None:
    """Load safetensors into ``model``, every name and shape in its place.

    Raises:
        InputError: the file is damaged or does not fit the model; the first names that differ are given.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        result = model.load_state_dict(load_file(path), strict=False)
    except SafetensorError as error:
        raise InputError(f"{path} cannot be read ({error}); remove it and run the training rule again") from error
    except RuntimeError as error:  # torch names each tensor whose shape differs
        raise InputError(f"{path} does not fit {type(model).__name__}: {error}") from error
    if result.missing_keys or result.unexpected_keys:
        raise InputError(
            f"{path} does not fit {type(model).__name__}: missing {result.missing_keys[:5]}, "
            f"unexpected {result.unexpected_keys[:5]}"
        )
