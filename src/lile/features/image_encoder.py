"""Image encoders, cut in two: a frozen stem whose tokens are stored, and the top that is trained.

A ViT is cut between two blocks; a CNN's last feature map is read as a grid of tokens and nothing of it is trained. Here
are those of timm; those of transformers are in :mod:`lile.features.transformers_image`. Dual encoders are another kind
(:mod:`lile.features.dual_image`): one token per image, by their own picture pipeline.

Shapes: B images, S pixels a side, R tokens (class token, registers and patches; or grid cells), H width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lile.errors import InputError
from lile.features.cutting import noted_calls
from lile.features.encoder_config import EncoderConfig
from lile.features.image_cut import LayersTop, cut_pictures, not_cuttable
from lile.features.parts import Frozen, PassThrough
from lile.features.pixels import Transform, pixel_transform
from lile.features.timm_model import build_timm

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, kw_only=True)
class ImageEncoder:
    """An image encoder in two halves; ``top(stem(x), keep)`` is the whole.

    Attributes:
        width: H.
        stem: pixels ``[B, 3, S, S]`` to tokens ``[B, R, H]``; frozen and always in evaluation mode.
        top: tokens ``[B, R, H]`` and keep ``[B, R]`` to tokens ``[B, R, H]``; trainable.
        transform: from pictures to pixels.
    """

    width: int
    stem: nn.Module
    top: nn.Module
    transform: Transform
    facts: dict[str, Any] = field(repr=False)

    def pixels(self, picture: Image.Image) -> Tensor:
        """Return the encoder's input for one picture, float32 ``[3, S, S]``."""
        return self.transform.normalised(torch.from_numpy(self.transform.resized(picture)))

    def about(self) -> dict[str, Any]:
        """Return what made the tokens: weights, cut and transform, as JSON-able values."""
        return {**self.facts, "transform": self.transform.facts()}


def load_image_encoder(cfg: dict[str, Any], seed: int) -> ImageEncoder:
    """Load the encoder that a config block names.

    Args:
        cfg: a block of ``encoders`` with modality image.
        seed: the run's seed; only random weights depend on it. The global random state is left alone.

    Raises:
        InputError: the block or the weights are wrong, or the model cannot be cut where asked.
    """
    config = EncoderConfig.from_dict(cfg, "image")
    if config.is_dual:
        from lile.features.dual_image import load_dual_image

        return load_dual_image(config)
    if config.library == "transformers":
        from lile.features.transformers_image import load_transformers_image

        return load_transformers_image(config, seed)
    model, origin = build_timm(config, seed)
    transform = pixel_transform(model, config.image_size_px)
    model.reset_classifier(0)
    stem, top, width, depth = cut_pictures(model, _TokenGrid(model), config, _halves)
    facts = {"library": "timm", "weights": config.weights, **origin, "trainable_blocks": config.trainable_blocks}
    return ImageEncoder(width=width, stem=stem, top=top, transform=transform, facts={**facts, "depth": depth})


class _TokenGrid(nn.Module):
    """A model's last features as tokens, whether they come as a map or as tokens already."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.model.forward_features(pixels)
        if features.ndim == 4 and getattr(self.model, "output_fmt", "NCHW") == "NCHW":
            return features.flatten(2).transpose(1, 2).contiguous()
        return features.flatten(1, -2)


def _halves(
    model: Any, tokens_of: nn.Module, probe: Tensor, config: EncoderConfig
) -> tuple[nn.Module, nn.Module, int | None]:
    """Cut a model of timm: one with blocks in a row and a norm behind them."""
    blocks, trainable = getattr(model, "blocks", None), config.trainable_blocks
    in_a_row = isinstance(blocks, nn.Sequential | nn.ModuleList) and isinstance(getattr(model, "norm", None), nn.Module)
    if not in_a_row:
        model.to(memory_format=torch.channels_last)  # depthwise convolutions take half the time on a CPU
    if trainable == 0:
        return Frozen(tokens_of), PassThrough(), len(blocks) if in_a_row and blocks is not None else None
    if not in_a_row or blocks is None:
        raise InputError(
            f"encoders: {config.weights}: trainable_blocks is {trainable}, but only a ViT can be cut between its "
            f"blocks and this is a {type(model).__name__}. Set trainable_blocks: 0"
        )
    if trainable > len(blocks):
        raise InputError(
            f"encoders: {config.weights}: trainable_blocks is {trainable}, but it has only {len(blocks)} blocks"
        )
    with noted_calls(list(blocks)) as calls:
        tokens_of(probe)
    if [call.layer for call in calls] != list(blocks):
        raise not_cuttable(model, config)
    depth = len(blocks) - trainable
    top = LayersTop(calls[depth:], model.norm)
    model.blocks, model.norm = blocks[:depth], nn.Identity()
    return Frozen(tokens_of), top, depth
