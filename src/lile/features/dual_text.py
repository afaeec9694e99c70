"""The text side of dual encoders: the model's own tokenizer and padding, and one vector per text.

Shapes: B texts, L token ids, E width of the joint space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lile.errors import InputError
from lile.features.dual_encoder import TextVectors, load_dual_encoder, vector_width
from lile.features.encoder_config import EncoderConfig
from lile.features.layouts import has_tokenizer
from lile.features.open_clip_model import OpenClipTexts, OpenClipTokenizer, load_open_clip
from lile.features.parts import Frozen, PassThrough
from lile.features.text_encoder import TextEncoder, positions_of
from lile.features.transformers_model import load_tokenizer, tokenizer_digest

_TRAINED_LENGTH = {"align": 64}
"""Token ids that a model was trained with, where it has more positions (transformers' AlignProcessor cuts there)."""

_PADDED_WITHOUT_MASK = ("siglip", "siglip2")
"""Models that read the last position of texts padded to their full length, and were trained without a mask."""

_PROBE = ("a probe", "another, longer probe of the text encoder")


def load_dual_text(config: EncoderConfig) -> TextEncoder:
    """Load the text side of a dual encoder as an encoder whose stem gives one token, the joint embedding.

    Texts are cut to the model's own length, or to ``max_tokens`` where that is less.

    Args:
        config: of modality text, with library ``dual_encoder`` or ``open_clip``.

    Raises:
        InputError: the weights or the tokenizer do not fit.
    """
    return _open_clip_text(config) if config.library == "open_clip" else _transformers_text(config)


def _transformers_text(config: EncoderConfig) -> TextEncoder:
    model, folder, facts = load_dual_encoder(config)
    tokenizer = load_tokenizer(folder)
    _check_vocabulary(model, tokenizer, folder)
    own = _own_length(model, tokenizer)
    padded = model.config.model_type in _PADDED_WITHOUT_MASK
    transform = {
        "max_tokens": min(config.max_tokens, own),
        "padded_to": own if padded else None,
        "tokenizer": tokenizer_digest(folder),
    }
    stem = Frozen(TextVectors(model, masked=not padded))
    return _tried(TextEncoder, folder, stem=stem, tokenizer=tokenizer, facts=facts, transform=transform)


def _open_clip_text(config: EncoderConfig) -> TextEncoder:
    model, folder, facts = load_open_clip(config)
    tokenizer = OpenClipTokenizer(folder)
    transform = {
        "max_tokens": min(config.max_tokens, tokenizer.own_length),
        "padded_to": tokenizer.own_length,
        "tokenizer": tokenizer_digest(folder) if has_tokenizer(folder) else "open_clip",
    }
    stem = Frozen(OpenClipTexts(model))
    return _tried(_OpenClipText, folder, stem=stem, tokenizer=tokenizer, facts=facts, transform=transform)


@dataclass(frozen=True, kw_only=True)
class _OpenClipText(TextEncoder):
    """Encodes with open_clip's own tokenizer, whose rows come padded."""

    def encode(self, texts: Sequence[str]) -> tuple[list[list[int]], int]:
        return self.tokenizer.encode(texts, self.max_tokens)


def _tried(
    kind: type[TextEncoder], folder: Path, *, facts: dict[str, Any], transform: dict[str, Any], **parts: Any
) -> TextEncoder:
    """Put an encoder together and run it once, which gives its width."""
    encoder = kind(
        width=0,
        top=PassThrough(),
        max_tokens=transform["max_tokens"],
        pad_to=transform["padded_to"],
        facts={**facts, "transform": transform},
        **parts,
    )
    ids_BL, keep_BL, _ = encoder.tokenize(_PROBE)
    return replace(encoder, width=vector_width(encoder.stem, folder, ids_BL, keep_BL))


def _own_length(model: Any, tokenizer: Any) -> int:
    """The token ids that the model takes of a text, markers included."""
    lengths = [tokenizer.model_max_length, positions_of(model.text_model)]
    return int(min([*lengths, *filter(None, [_TRAINED_LENGTH.get(model.config.model_type)])]))


def _check_vocabulary(model: Any, tokenizer: Any, folder: Path) -> None:
    known = model.config.text_config.vocab_size
    if len(tokenizer) > known:
        raise InputError(
            f"{folder}: its tokenizer has {len(tokenizer)} tokens, but the model knows {known}. Check that tokenizer "
            f"files and config.json belong together"
        )
