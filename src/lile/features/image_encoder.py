"""Image encoders of timm, cut in two: a frozen stem whose tokens are stored, and the top that is trained.

A ViT is cut between two blocks; a CNN's last feature map is read as a grid of tokens and nothing of it is trained.
Dual encoders are another kind (:mod:`lile.features.dual_image`): one token per image, by their own picture pipeline.

Shapes: B images, S pixels a side, R tokens (class token and patches, or grid cells), H width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lile.errors import InputError
from lile.features.encoder_config import EncoderConfig
from lile.features.parts import Frozen, PassThrough, same_tokens
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
    model, origin = build_timm(config, seed)
    transform = pixel_transform(model, config.image_size_px)
    probe = torch.linspace(-1, 1, 3 * config.image_size_px**2).reshape(1, 3, config.image_size_px, -1)
    with torch.inference_mode():
        whole = _whole(model, probe, config)
    stem, top, depth = _cut(model, config)
    with torch.inference_mode():
        tokens = stem(probe)
        if not same_tokens(top.eval()(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool)), whole):
            raise InputError(
                f"encoders: {config.weights}: a {type(model).__name__} cannot be cut before its last "
                f"{config.trainable_blocks} blocks. Set trainable_blocks: 0"
            )
    facts = {"library": "timm", "weights": config.weights, **origin, "trainable_blocks": config.trainable_blocks}
    return ImageEncoder(
        width=whole.shape[-1], stem=stem, top=top.train(), transform=transform, facts={**facts, "depth": depth}
    )


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


class _VitTop(nn.Module):
    """The last blocks of a ViT and its final norm."""

    def __init__(self, blocks: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks.children())
        self.norm = norm

    def forward(self, tokens_BRH: Tensor, keep_BR: Tensor) -> Tensor:
        # Images of one encoder have equally many tokens; a mask would only rule out the fastest attention kernels.
        masked = {} if bool(keep_BR.all()) else {"attn_mask": keep_BR[:, None, None, :]}
        for block in self.blocks:
            tokens_BRH = block(tokens_BRH, **masked)
        return self.norm(tokens_BRH)


def _cut(model: Any, config: EncoderConfig) -> tuple[nn.Module, nn.Module, int | None]:
    """Return stem, top and the number of frozen blocks (None for a model without blocks). Takes ``model`` apart."""
    from timm.models.vision_transformer import VisionTransformer

    model.reset_classifier(0)
    is_vit, trainable = isinstance(model, VisionTransformer), config.trainable_blocks
    if not is_vit:
        model.to(memory_format=torch.channels_last)  # depthwise convolutions take half the time on a CPU
    if trainable == 0:
        return Frozen(_TokenGrid(model)), PassThrough(), len(model.blocks) if is_vit else None
    if not is_vit:
        raise InputError(
            f"encoders: {config.weights}: trainable_blocks is {trainable}, but only a ViT can be cut between its "
            f"blocks and this is a {type(model).__name__}. Set trainable_blocks: 0"
        )
    if trainable > len(model.blocks):
        raise InputError(
            f"encoders: {config.weights}: trainable_blocks is {trainable}, but it has only {len(model.blocks)} blocks"
        )
    depth = len(model.blocks) - trainable
    top = _VitTop(model.blocks[depth:], model.norm)
    model.blocks, model.norm = model.blocks[:depth], nn.Identity()
    return Frozen(_TokenGrid(model)), top, depth


def _whole(model: Any, probe: Tensor, config: EncoderConfig) -> Tensor:
    """The uncut model's tokens; the cut must give the same."""
    try:
        tokens = _TokenGrid(model)(probe)
    except (RuntimeError, AssertionError, AttributeError) as error:
        raise InputError(
            f"encoders: {config.weights}: a {type(model).__name__} gives no tokens for images of "
            f"{config.image_size_px} px: {' '.join(str(error).split())[:200]}. Check image_size_px"
        ) from error
    return tokens
