"""The image side of dual encoders: the model's own picture pipeline, and one vector per image.

Shapes: B images, S pixels a side, E width of the joint space.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lile.errors import InputError
from lile.features.dual_encoder import ImageVectors, load_dual_encoder, vector_width
from lile.features.encoder_config import IMAGE_SIZE_PX, EncoderConfig
from lile.features.image_encoder import ImageEncoder
from lile.features.open_clip_model import OpenClipImages, load_open_clip
from lile.features.parts import Frozen, PassThrough
from lile.features.pretrained import one_line

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnPipeline:
    """A model's own way from a picture to its input, as published with it: resizing, cropping, normalising.

    Attributes:
        steps: from an RGB picture to float32 ``[3, S, S]``.
        described: the steps as JSON-able values; kept with the tokens.
    """

    steps: Callable[[Image.Image], np.ndarray] = field(repr=False)
    described: dict[str, Any]

    def resized(self, picture: Image.Image) -> np.ndarray:
        """Return float32 ``[3, S, S]``, ready for the model."""
        return self.steps(picture if picture.mode == "RGB" else picture.convert("RGB"))

    def normalised(self, pixels: Tensor) -> Tensor:
        """Return the pixels as they are: :meth:`resized` has done all of it."""
        return pixels

    def facts(self) -> dict[str, Any]:
        """Return what a token store must know of the pipeline."""
        return self.described


def load_dual_image(config: EncoderConfig) -> ImageEncoder:
    """Load the image side of a dual encoder as an encoder whose stem gives one token, the joint embedding.

    Args:
        config: of modality image, with library ``dual_encoder`` or ``open_clip``.

    Raises:
        InputError: the weights, the processor or ``image_size_px`` do not fit.
    """
    if config.library == "open_clip":
        model, folder, facts = load_open_clip(config)
        stem, transform = Frozen(OpenClipImages(model)), _open_clip_pipeline(model)
    else:
        model, folder, facts = load_dual_encoder(config)
        stem, transform = Frozen(ImageVectors(model)), _processor_pipeline(folder)
    pixels = _trial(transform, folder)
    if config.image_size_px not in (IMAGE_SIZE_PX, *pixels.shape[-2:]):
        raise InputError(
            f"encoders: {config.weights}: image_size_px is {config.image_size_px}, but its own processor makes "
            f"{pixels.shape[-1]} px. Leave image_size_px out: a dual encoder brings its own"
        )
    width = vector_width(stem, folder, pixels)
    return ImageEncoder(width=width, stem=stem, top=PassThrough(), transform=transform, facts=facts)


def _processor_pipeline(folder: Path) -> OwnPipeline:
    from transformers import AutoImageProcessor

    try:
        # Pillow's resizing, with which such models were trained and measured; it is the same on every machine.
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
        described = json.loads(processor.to_json_string())
    except Exception as error:  # transformers raises kinds of its own on files that do not fit
        raise InputError(
            f"{folder}: no image processor can be loaded from it ({one_line(error)}). Copy preprocessor_config.json "
            f"from the model's hub repository"
        ) from error

    def steps(picture: Image.Image) -> np.ndarray:
        return np.asarray(processor(images=picture, return_tensors="np")["pixel_values"][0], dtype=np.float32)

    about = {"processor": type(processor).__name__, "steps": described}
    return OwnPipeline(steps=steps, described=about)


def _open_clip_pipeline(model: Any) -> OwnPipeline:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    preprocess = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    described = json.loads(json.dumps(model.visual.preprocess_cfg))
    about = {"processor": "open_clip", "steps": described}
    return OwnPipeline(steps=lambda picture: preprocess(picture).numpy(), described=about)


def _trial(transform: OwnPipeline, folder: Path) -> Tensor:
    """Two pictures of other shapes, prepared: pixels ``[2, 3, S, S]``."""
    from PIL import Image

    pictures = [transform.resized(Image.linear_gradient("L").resize(size)) for size in ((48, 64), (80, 40))]
    shapes = {picture.shape for picture in pictures}
    if len(shapes) > 1 or pictures[0].ndim != 3:
        raise InputError(
            f"{folder}: its image processor makes inputs of shapes {sorted(shapes)} of differing pictures; needed is "
            f"one fixed size [3, S, S]"
        )
    return torch.from_numpy(np.stack(pictures))
