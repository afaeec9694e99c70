"""What a folder in open_clip's layout says of its model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lile.errors import InputError
from lile.features.layouts import OPEN_CLIP, VOCABULARIES, has_tokenizer


def model_config(folder: Path) -> dict[str, Any]:
    """Return ``model_cfg`` of the folder's config, with ``vision_cfg`` and ``text_cfg``.

    Raises:
        InputError: it is missing or of another kind.
    """
    path = folder / OPEN_CLIP.config
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["model_cfg"]
        whole = isinstance(found["text_cfg"], dict) and isinstance(found["vision_cfg"], dict)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no config of an open_clip model ({error!r})") from error
    if not whole:
        raise InputError(f"{path}: model_cfg.text_cfg and model_cfg.vision_cfg must hold keys with values")
    return found


def text_encoder_name(folder: Path) -> str | None:
    """Return the hub id of a text encoder of transformers; ``None`` where it is open_clip's own.

    The folder has such an encoder's weights and tokenizer, but of its architecture only this name.

    Raises:
        InputError: the folder needs a tokenizer and has none.
    """
    text = model_config(folder)["text_cfg"]
    if text.get("hf_tokenizer_name") and not has_tokenizer(folder):
        kinds = " or ".join(" and ".join(names) for names in VOCABULARIES)
        raise InputError(f"{folder}: tokenizer ({kinds}) missing; copy it from the model's hub repository")
    return text.get("hf_model_name") or None
