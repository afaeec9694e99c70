"""Image encoders of transformers: ViT, DINOv2 (with registers or without), DINOv3, BEiT, Phikon, Hibou and their kin.

As those of timm they are cut between two layers, and a model without layers in a row is read as it is. Mean, deviation
and interpolation are those of the model's own image processor; pictures are squashed to a square, as for every encoder.

Shapes: B images, S pixels a side, R tokens (class token, registers and patches; or grid cells), H width.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lile.errors import InputError
from lile.features.cutting import final_norm, layer_list, noted_calls
from lile.features.encoder_config import EncoderConfig
from lile.features.image_cut import LayersTop, cut_pictures, not_cuttable
from lile.features.image_encoder import ImageEncoder
from lile.features.parts import Frozen, PassThrough
from lile.features.pixels import PixelTransform, squashed
from lile.features.pretrained import build_model, one_line


def load_transformers_image(config: EncoderConfig, seed: int) -> ImageEncoder:
    """Load the encoder that a config block names.

    Args:
        config: of modality image and library transformers.
        seed: the run's seed; only random weights depend on it.

    Raises:
        InputError: weights or image processor are missing or do not fit, or the model cannot be cut where asked.
    """
    model, folder, origin = build_model(config, seed)
    if hasattr(model, "text_model"):
        raise InputError(
            f"encoders: {config.weights}: a {type(model).__name__} reads images and texts. Set library: dual_encoder "
            "and trainable_blocks: 0"
        )
    transform = _transform_of(folder, config.image_size_px)
    stem, top, width, depth = cut_pictures(model, _Tokens(model, config.image_size_px), config, _halves)
    facts = {"library": "transformers", "weights": config.weights, **origin, "depth": depth}
    return ImageEncoder(
        width=width,
        stem=stem,
        top=top,
        transform=transform,
        facts={**facts, "trainable_blocks": config.trainable_blocks},
    )


class _Tokens(nn.Module):
    """A model's last features as tokens, whether they come as a map or as tokens already."""

    def __init__(self, model: Any, size_px: int) -> None:
        super().__init__()
        self.model = model
        # Learned positions are resampled for pictures of another size than the model was made with.
        resampled = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
        other = getattr(model.config, "image_size", size_px) != size_px
        self.also = {"interpolate_pos_encoding": True} if resampled and other else {}

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.model(pixel_values=pixels, **self.also).last_hidden_state
        return features.flatten(2).transpose(1, 2).contiguous() if features.ndim == 4 else features


def _halves(
    model: Any, tokens_of: nn.Module, probe: Tensor, config: EncoderConfig
) -> tuple[nn.Module, nn.Module, int | None]:
    """Cut a model of transformers: its longest list of layers, and the norm that gives its output."""
    found, trainable = layer_list(model), config.trainable_blocks
    layers = nn.ModuleList() if found is None else getattr(*found)
    with noted_calls(list(layers)) as calls:
        tokens_of(probe)
    in_a_row = found is not None and [call.layer for call in calls] == list(layers)
    if trainable == 0:
        return Frozen(tokens_of), PassThrough(), len(layers) if in_a_row else None
    if found is None or not in_a_row:
        raise not_cuttable(model, config)
    if trainable > len(layers):
        raise InputError(
            f"encoders: {config.weights}: trainable_blocks is {trainable}, but it has only {len(layers)} layers"
        )
    depth, place = len(layers) - trainable, final_norm(model, layers, lambda: tokens_of(probe))
    top = LayersTop(calls[depth:], nn.Identity() if place is None else getattr(*place))
    setattr(*found, layers[:depth])
    if place is not None:
        setattr(*place, nn.Identity())
    return Frozen(tokens_of), top, depth


def _transform_of(folder: Path, size_px: int) -> PixelTransform:
    """Read mean, deviation and interpolation from the model's image processor."""
    from PIL import Image
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
        values = processor.to_dict()
        resample = Image.Resampling(values.get("resample", Image.Resampling.BILINEAR)).name
    except Exception as error:  # transformers raises kinds of its own on files that do not fit
        raise InputError(
            f"{folder}: no image processor can be loaded from it ({one_line(error)}). Copy preprocessor_config.json "
            "from the model's hub repository"
        ) from error
    factor = values.get("rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1.0
    if abs(factor * 255 - 1) > 1e-3:
        raise InputError(
            f"{folder}: its image processor rescales pixels by {factor}, not by 1/255; such a model cannot be read"
        )
    if not values.get("do_normalize", True):
        return squashed(size_px, resample, (0.0,) * 3, (1.0,) * 3)
    return squashed(size_px, resample, values["image_mean"], values["image_std"])
