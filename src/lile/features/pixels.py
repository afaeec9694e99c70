"""From pictures to an encoder's input: extraction and pretraining must see the same pixels.

Shapes: S pixels a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lile.errors import InputError

if TYPE_CHECKING:
    from PIL import Image


class Transform(Protocol):
    """From a picture to an encoder's input, in two steps: one picture on the CPU, then a batch on any device."""

    def resized(self, picture: Image.Image) -> np.ndarray:
        """Return one picture as an array of a fixed shape."""

    def normalised(self, pixels: Tensor) -> Tensor:
        """Turn arrays of :meth:`resized`, ``[..., *shape]``, into float32 ``[..., 3, S, S]``."""

    def facts(self) -> dict[str, Any]:
        """Return what a token store must know of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelTransform:
    """From a picture of any size to an encoder's input: squashed to a square, as the paper does, and normalised."""

    size_px: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def resized(self, picture: Image.Image) -> np.ndarray:
        """Return uint8 ``[S, S, 3]``; resizing is antialiased."""
        from PIL import Image

        square = (self.size_px, self.size_px)
        rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
        if rgb.size != square:
            rgb = rgb.resize(square, Image.Resampling[self.interpolation.upper()])
        return np.array(rgb)

    def normalised(self, pixels: Tensor) -> Tensor:
        """Turn uint8 ``[..., S, S, 3]`` into float32 ``[..., 3, S, S]`` with the encoder's mean and deviation."""
        mean, std = (torch.tensor(values, device=pixels.device) for values in (self.mean, self.std))
        return ((pixels.float() / 255 - mean) / std).movedim(-1, -3).contiguous()

    def facts(self) -> dict[str, Any]:
        """Return what a token store must know of the transform."""
        return {
            "size_px": self.size_px,
            "resize": "squash",
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
        }


def pixel_transform(model: Any, size_px: int) -> PixelTransform:
    """Return the transform of a timm model: mean, deviation and interpolation are its own.

    Args:
        model: of timm, with ``pretrained_cfg``.
        size_px: side of its input.

    Raises:
        InputError: Pillow does not know the interpolation.
    """
    cfg: dict[str, Any] = model.pretrained_cfg
    return squashed(size_px, cfg.get("interpolation") or "bicubic", cfg["mean"], cfg["std"])


def squashed(size_px: int, interpolation: str, mean: Sequence[float], std: Sequence[float]) -> PixelTransform:
    """Return the transform of a model that says how its pictures were made.

    Args:
        size_px: side of its input.
        interpolation: as Pillow calls it, in letters of any case.
        mean: of red, green and blue, of values in 0..1.
        std: deviations, likewise.

    Raises:
        InputError: Pillow does not know the interpolation.
    """
    from PIL import Image

    if interpolation.upper() not in Image.Resampling.__members__:
        raise InputError(f"encoders: interpolation {interpolation!r} in the model's config is unknown to Pillow")
    mean_RGB, std_RGB = (tuple(float(value) for value in values) for values in (mean, std))
    return PixelTransform(size_px=size_px, interpolation=interpolation.lower(), mean=mean_RGB, std=std_RGB)
