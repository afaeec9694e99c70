"""What an image encoder's ``library`` can be, beside the models that read whole pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DETECTOR = "faster_rcnn"
"""The library of a detector that is run here."""

REGION_LIBRARIES = (DETECTOR, "npy", "bottom_up")
"""Encoders whose tokens are regions of an image, stored as they are; nothing of them is trained."""

TSV_COLUMNS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
"""What is read of a TSV file of bottom-up attention, in the order in which the original program writes it."""

REGION_VIT = "region_vit"
"""A ViT on the regions of another encoder: it has no store of its own."""


def reads_pictures(library: str) -> bool:
    """Return whether an image encoder of this library makes its tokens from whole pictures by a model."""
    return library not in (*REGION_LIBRARIES, REGION_VIT)


def vit_of(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return the block of the timm model whose blocks a region ViT has."""
    return {key: block[key] for key in ("modality", "weights", "config", "trainable_blocks")}


def detector_rule(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a detector's regions are chosen, as a store keeps it: one of another rule is refused.

    Here, where no detector's code is: whoever trains on regions asks for it.

    Args:
        block: ``regions, nms_iou, confidence`` of the encoder's block.
    """
    how = "best class of each proposal, suppressed over all classes, features pooled again at the final box"
    numbers = {name: float(block[name]) for name in ("nms_iou", "confidence")}
    return {"most": block["regions"], **numbers, "rule": how}
