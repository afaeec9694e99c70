"""What an image encoder's ``library`` can be, beside the models that read whole pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REGION_LIBRARIES = ("faster_rcnn", "npy", "bottom_up")
"""Encoders whose tokens are regions of an image, stored as they are; nothing of them is trained."""

TSV_COLUMNS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
"""What is read of a TSV file of bottom-up attention, in the order in which the original program writes it."""

REGION_VIT = "region_vit"
"""A ViT on the regions of another encoder: it has no store of its own."""


def reads_pictures(encoder: Mapping[str, Any]) -> bool:
    """Return whether an image encoder's tokens are made from whole pictures by a model."""
    return encoder["library"] not in (*REGION_LIBRARIES, REGION_VIT)
