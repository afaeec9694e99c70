"""Dual encoders of transformers: an image and a text model with one joint space (CLIP, ALIGN, SigLIP and their kin).

Each item becomes one vector, the model's own projected embedding before it is brought to unit length. The score of a
pair is their cosine: what such models put round it (a factor exp(logit_scale) > 0, SigLIP's bias) changes no ranking.

Shapes: B items, S pixels a side, L token ids, E width of the joint space.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lile.errors import InputError
from lile.features.encoder_config import EncoderConfig
from lile.features.layouts import DUAL_ENCODER, Layout
from lile.features.pretrained import one_line, pretrained_model, quiet
from lile.features.weights import resolve_weights, weights_digest
from lile.files import digest_of

_PARTS = {"image": ("vision_model", "visual_projection"), "text": ("text_model", "text_projection")}
"""The children of a dual encoder that only one modality needs, by transformers' own names."""


class ImageVectors(nn.Module):
    """Pixels ``[B, 3, S, S]`` to joint embeddings ``[B, 1, E]``: one token per image."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels_BCSS: Tensor) -> Tensor:
        """Return what the model's own ``get_image_features`` gives."""
        return _pooled(self.model.get_image_features(pixel_values=pixels_BCSS))[:, None]


class TextVectors(nn.Module):
    """Token ids ``[B, L]`` and keep ``[B, L]`` to joint embeddings ``[B, 1, E]``: one token per text.

    Args:
        model: the dual encoder.
        masked: whether it is told which ids are padding.
    """

    def __init__(self, model: Any, masked: bool) -> None:
        super().__init__()
        self.model, self.masked = model, masked

    def forward(self, ids_BL: Tensor, keep_BL: Tensor) -> Tensor:
        """Return what the model's own ``get_text_features`` gives."""
        mask = {"attention_mask": keep_BL.long()} if self.masked else {}
        return _pooled(self.model.get_text_features(input_ids=ids_BL, **mask))[:, None]


def load_dual_encoder(config: EncoderConfig) -> tuple[Any, Path, dict[str, Any]]:
    """Load one side of a dual encoder; the other side's weights are let go.

    Args:
        config: of either modality.

    Returns:
        The model in float32 and evaluation mode, its folder, and the facts ``library``, ``weights``, ``origin``,
        ``weights_digest``, ``trainable_blocks``, ``depth`` (None: it is not cut).

    Raises:
        InputError: files are missing or do not fit, or it is no dual encoder.
    """
    folder = resolve_weights(config.weights, DUAL_ENCODER)
    with quiet():
        model = pretrained_model(folder)
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
        raise InputError(
            f"{folder}: a {type(model).__name__} is no dual encoder: it does not read both images and texts into one "
            f"space. Its config.json must be that of the whole model, such as CLIPModel's with model_type clip"
        )
    for part in _PARTS["text" if config.modality == "image" else "image"]:
        if hasattr(model, part):
            setattr(model, part, None)
    return model.float().eval(), folder, facts_of(config, folder, DUAL_ENCODER)


def facts_of(config: EncoderConfig, folder: Path, layout: Layout, *configs: Path) -> dict[str, Any]:
    """Return what a store says of any dual encoder, but for its transform.

    Args:
        config: of either modality.
        folder: the model's.
        layout: of the folder.
        configs: files outside of it that its architecture depends on.
    """
    # The same weights under another activation are another model, and CLIP's activation stands in its config alone.
    architecture = [json.loads(path.read_text(encoding="utf-8")) for path in (folder / layout.config, *configs)]
    digest = digest_of([weights_digest(folder, layout), *architecture])
    return {
        "library": config.library,
        "weights": config.weights,
        "origin": "pretrained",
        "weights_digest": digest,
        "trainable_blocks": 0,
        "depth": None,
    }


def vector_width(stem: nn.Module, folder: Path, *probe: Tensor) -> int:
    """Return E, after a trial: ``stem`` must take ``probe``, of B items, and give finite ``[B, 1, E]``.

    Raises:
        InputError: it does not; the folder's files do not fit each other, or the model gives no single vector.
    """
    try:
        with torch.inference_mode():
            vectors = stem(*probe)
    except (RuntimeError, ValueError, IndexError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder}: its model cannot read what its own processor or tokenizer gives ({one_line(error)}). Check "
            f"that all files are of the same model"
        ) from error
    if vectors.ndim != 3 or vectors.shape[:2] != (len(probe[0]), 1) or not bool(torch.isfinite(vectors).all()):
        raise InputError(
            f"{folder}: {len(probe[0])} items gave embeddings of shape {list(vectors.shape)}, not one finite vector "
            f"each. It is no dual encoder that retrieval can use"
        )
    return vectors.shape[-1]


def _pooled(found: Any) -> Tensor:
    """The joint embedding: transformers 4 returns the tensor itself, transformers 5 an output that holds it."""
    return found if isinstance(found, Tensor) else found.pooler_output
