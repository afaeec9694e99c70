"""Dual encoders in open_clip's layout (BiomedCLIP, for one): built by open_clip, strictly from their folder.

Shapes: B items, S pixels a side, L token ids, E width of the joint space.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lile.errors import InputError
from lile.features.dual_encoder import facts_of
from lile.features.encoder_config import EncoderConfig
from lile.features.layouts import OPEN_CLIP, TEXT_CONFIG
from lile.features.open_clip_folder import model_config, text_encoder_name
from lile.features.pretrained import one_line, quiet
from lile.features.weights import resolve_weights


class OpenClipImages(nn.Module):
    """Pixels ``[B, 3, S, S]`` to joint embeddings ``[B, 1, E]``: one token per image."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels_BCSS: Tensor) -> Tensor:
        """Return what the model's own ``encode_image`` gives, not brought to unit length."""
        return self.model.encode_image(pixels_BCSS)[:, None]


class OpenClipTexts(nn.Module):
    """Token ids ``[B, L]`` to joint embeddings ``[B, 1, E]``: one token per text."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids_BL: Tensor, keep_BL: Tensor) -> Tensor:
        """Return what the model's own ``encode_text`` gives; it knows padding by its id."""
        return self.model.encode_text(ids_BL)[:, None]


class OpenClipTokenizer:
    """A folder's own tokenizer: open_clip's byte pairs, or one of transformers.

    Attributes:
        own_length: token ids of a text, padding included.
        pad_token_id: the padding's id.
    """

    def __init__(self, folder: Path) -> None:
        import open_clip

        text = model_config(folder)["text_cfg"]
        if text.get("tokenizer_mode") or text.get("tokenizer_kwargs", {}).get("reduction_mask"):
            raise InputError(f"{folder / OPEN_CLIP.config}: tokenizer_mode and reduction_mask are not supported")
        try:
            self._tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
        except Exception as error:  # open_clip passes on what transformers and tokenizers raise
            raise InputError(f"{folder}: no tokenizer can be loaded from it ({one_line(error)})") from error
        self.own_length: int = self._tokenizer.context_length
        inner = getattr(self._tokenizer, "tokenizer", None)
        self.pad_token_id: int = inner.pad_token_id if inner is not None else 0

    def encode(self, texts: Sequence[str], length: int) -> tuple[list[list[int]], int]:
        """Return the ids of each text, cut and padded to ``length``, and how many were cut."""
        if not texts:
            return [], 0
        ids = self._tokenizer(list(texts), context_length=length)
        one_more = self._tokenizer(list(texts), context_length=length + 1)
        return ids.tolist(), int((one_more[:, -1] != self.pad_token_id).sum())


def load_open_clip(config: EncoderConfig) -> tuple[Any, Path, dict[str, Any]]:
    """Load one side of a dual encoder of open_clip; the arguments and results are those of ``load_dual_encoder``.

    Raises:
        InputError: files are missing or do not fit.
    """
    import open_clip

    folder = resolve_weights(config.weights, OPEN_CLIP)
    configs, own = _text_config(folder)
    try:
        with quiet():
            model = open_clip.create_model(f"local-dir:{folder}", require_pretrained=True, **own)
    except Exception as error:  # open_clip, torch, timm and transformers each raise kinds of their own
        raise InputError(f"{folder}: the model cannot be built from it: {one_line(error)}") from error
    for part in ("text", "transformer") if config.modality == "image" else ("visual",):
        if hasattr(model, part):
            setattr(model, part, None)
    return model.float().eval(), folder, facts_of(config, folder, OPEN_CLIP, *configs)


def _text_config(folder: Path) -> tuple[list[Path], dict[str, Any]]:
    """The config.json of a text encoder of transformers, and open_clip's arguments to read it from there."""
    name = text_encoder_name(folder)
    if name is None:
        return [], {}
    try:
        local = resolve_weights(name, TEXT_CONFIG)
    except InputError as error:
        raise InputError(f"{folder}: its text encoder is {name}, whose config.json is needed: {error}") from error
    text = {**model_config(folder)["text_cfg"], "hf_model_name": str(local), "hf_model_pretrained": False}
    return [local / TEXT_CONFIG.config], {"text_cfg": text}
