"""Text encoders of transformers, cut in two: a frozen stem whose tokens are stored, and the top that is trained.

Dual encoders are another kind (:mod:`lile.features.dual_text`): one token per text, and nothing of them is trained.
Both halves are the published model itself with part of its layers taken out, so masks and attention are its own.

Shapes: B texts, L tokens of the longest, H width.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lile.errors import InputError
from lile.features.cutting import final_norm, layer_list, noted_calls
from lile.features.encoder_config import EncoderConfig
from lile.features.parts import Frozen, PassThrough, same_tokens
from lile.features.transformers_model import build_transformers


@dataclass(frozen=True, kw_only=True)
class TextEncoder:
    """A text encoder in two halves; ``top(stem(ids, keep), keep)`` is the whole.

    Attributes:
        width: H.
        stem: token ids ``[B, L]`` and keep ``[B, L]`` to tokens ``[B, L, H]``; frozen, always in evaluation mode.
        top: tokens ``[B, L, H]`` and keep ``[B, L]`` to tokens ``[B, L, H]``; trainable, with the model's own dropout.
            At positions not kept the output means nothing.
        max_tokens: longer texts are cut to this, markers included.
        pad_to: every batch is padded to this; ``None``: to its longest text.
    """

    width: int
    stem: nn.Module
    top: nn.Module
    max_tokens: int
    pad_to: int | None = None
    tokenizer: Any = field(repr=False)
    facts: dict[str, Any] = field(repr=False)

    def encode(self, texts: Sequence[str]) -> tuple[list[list[int]], int]:
        """Return each text's token ids with begin and end markers, and how many texts were cut to ``max_tokens``."""
        if not texts:
            return [], 0
        found = self.tokenizer(
            list(texts), truncation=True, max_length=self.max_tokens, padding=False, return_attention_mask=False
        )
        return found["input_ids"], sum(bool(encoding.overflowing) for encoding in found.encodings)

    def pad(self, ids: Sequence[Sequence[int] | np.ndarray]) -> tuple[Tensor, Tensor]:
        """Put ragged token ids into int64 ``[B, L]`` with keep bool ``[B, L]``; padding comes last."""
        longest = max((len(row) for row in ids), default=0) if self.pad_to is None else self.pad_to
        ids_BL = torch.full((len(ids), longest), self.tokenizer.pad_token_id)
        keep_BL = torch.zeros((len(ids), longest), dtype=torch.bool)
        for place, row in enumerate(ids):
            ids_BL[place, : len(row)] = torch.as_tensor(row)
            keep_BL[place, : len(row)] = True
        return ids_BL, keep_BL

    def tokenize(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, int]:
        """Return token ids ``[B, L]``, keep ``[B, L]`` and the number of texts that were cut to ``max_tokens``."""
        ids, truncated = self.encode(texts)
        return *self.pad(ids), truncated

    def about(self) -> dict[str, Any]:
        """Return what made the tokens: weights, cut and transform, as JSON-able values."""
        return copy.deepcopy(self.facts)


def load_text_encoder(cfg: dict[str, Any], seed: int) -> TextEncoder:
    """Load the encoder that a config block names.

    Args:
        cfg: a block of ``encoders`` with modality text.
        seed: the run's seed; only random weights depend on it. The global random state is left alone.

    Raises:
        InputError: the block or the weights are wrong, or the model cannot be cut where asked.
    """
    config = EncoderConfig.from_dict(cfg, "text")
    if config.is_dual:
        from lile.features.dual_text import load_dual_text

        return load_dual_text(config)
    model, tokenizer, origin = build_transformers(config, seed)
    _check(model, tokenizer, config)
    ids_BL, keep_BL = _probe(tokenizer, config.max_tokens)
    try:
        with torch.no_grad():  # not inference_mode: what is copied here is trained later
            whole = _Stem(model)(ids_BL, keep_BL)
            stem, top, depth = _cut(model, config, ids_BL, keep_BL)
            same = same_tokens(top.eval()(stem(ids_BL, keep_BL), keep_BL)[keep_BL], whole[keep_BL])
    except (RuntimeError, TypeError, AttributeError, LookupError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise _not_cuttable(model, config) from error
    if not same:
        raise _not_cuttable(model, config)
    transform = {"max_tokens": config.max_tokens, "tokenizer": origin.pop("tokenizer")}
    facts = {"library": "transformers", "weights": config.weights, **origin, "depth": depth, "transform": transform}
    return TextEncoder(
        width=whole.shape[-1],
        stem=stem,
        top=top.train(),
        max_tokens=config.max_tokens,
        tokenizer=tokenizer,
        facts={**facts, "trainable_blocks": config.trainable_blocks},
    )


class _Stem(nn.Module):
    """Embeddings and first layers: the model with its last layers taken out."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids_BL: Tensor, keep_BL: Tensor) -> Tensor:
        return self.model(input_ids=ids_BL, attention_mask=keep_BL.long()).last_hidden_state


class _Top(nn.Module):
    """Last layers: the model with its embeddings and first layers taken out."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens_BLH: Tensor, keep_BL: Tensor) -> Tensor:
        return self.model(inputs_embeds=tokens_BLH, attention_mask=keep_BL.long()).last_hidden_state


class _NoEmbeddings(nn.Module):
    """Stands where the top's embeddings were: its input is embedded already."""

    def forward(self, *args: Any, inputs_embeds: Tensor | None = None, **_: Any) -> Tensor:
        found = [value for value in (inputs_embeds, *args) if isinstance(value, Tensor) and value.is_floating_point()]
        return found[0]


def _cut(model: Any, config: EncoderConfig, ids_BL: Tensor, keep_BL: Tensor) -> tuple[nn.Module, nn.Module, int | None]:
    """Return stem, top and the number of frozen layers. Takes ``model`` apart, by running it on a probe."""
    whole, place = _Stem(model), layer_list(model)
    layers = nn.ModuleList() if place is None else getattr(*place)
    with noted_calls(list(layers)) as calls:
        whole(ids_BL, keep_BL)
    in_a_row = place is not None and [call.layer for call in calls] == list(layers)
    if config.trainable_blocks == 0:
        return Frozen(whole), PassThrough(), len(layers) if in_a_row else None
    if place is None or not in_a_row or not hasattr(model, "embeddings"):
        raise _not_cuttable(model, config)
    if config.trainable_blocks > len(layers):
        raise InputError(
            f"encoders: {config.weights}: trainable_blocks is {config.trainable_blocks}, "
            f"but it has only {len(layers)} layers"
        )
    depth, norm = len(layers) - config.trainable_blocks, final_norm(model, layers, lambda: whole(ids_BL, keep_BL))
    embeddings = model.embeddings
    setattr(*place, nn.ModuleList())
    model.embeddings = _NoEmbeddings()
    upper, (above, name) = copy.deepcopy((model, place))  # but a shell: layers and embeddings are out
    setattr(above, name, layers[depth:])
    setattr(*place, layers[:depth])
    model.embeddings = embeddings
    if norm is not None:
        setattr(*norm, nn.Identity())
    return Frozen(whole), _Top(upper), depth


def _probe(tokenizer: Any, max_tokens: int) -> tuple[Tensor, Tensor]:
    """Two short rows of token ids, the second one padded."""
    words = tokenizer("a probe of the cut", truncation=True, max_length=max_tokens)["input_ids"]
    ids_BL = torch.tensor([words, words])
    keep_BL = torch.ones_like(ids_BL, dtype=torch.bool)
    ids_BL[1, 2:], keep_BL[1, 2:] = tokenizer.pad_token_id, False
    return ids_BL, keep_BL


def _check(model: Any, tokenizer: Any, config: EncoderConfig) -> None:
    """Refuse more tokens than there are positions, and a tokenizer of another model."""
    most = positions_of(model)
    if config.max_tokens > most:
        raise InputError(
            f"encoders: {config.weights}: max_tokens is {config.max_tokens}, the model has {most} positions"
        )
    if len(tokenizer) > model.config.vocab_size:
        raise InputError(
            f"encoders: {config.weights}: its tokenizer has {len(tokenizer)} tokens, but the model knows "
            f"{model.config.vocab_size}. Check that tokenizer files and config.json belong together"
        )


def positions_of(model: Any) -> int:
    """Return how many tokens a text model of transformers can take, markers included."""
    # RoBERTa counts positions from behind the padding id: 514 positions are 512 tokens.
    behind = getattr(getattr(model, "embeddings", None), "padding_idx", None)
    return model.config.max_position_embeddings - (0 if behind is None else behind + 1)


def _not_cuttable(model: Any, config: EncoderConfig) -> InputError:
    kind = f"encoders: {config.weights}: a {type(model).__name__}"
    if config.trainable_blocks == 0:
        return InputError(f"{kind} gives no tokens of a text. Name another text encoder")
    return InputError(
        f"{kind} cannot be cut between its layers; BERT, RoBERTa, DistilBERT, DeBERTa, ModernBERT and their kin can "
        "(embeddings, then a list of layers). Set trainable_blocks: 0, or name another text encoder"
    )
