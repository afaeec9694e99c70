"""What training and evaluation load of an image encoder: its trainable top, and the store that the top reads.

Tokens of whole pictures go through the encoder's last blocks; regions are read as they are stored, or through a ViT
of their own (:mod:`lile.features.region_vit`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from lile.features.encoder_config import RANDOM
from lile.features.libraries import DETECTOR, REGION_VIT, detector_rule, reads_pictures
from lile.features.parts import PassThrough
from lile.features.store import TokenStore


@dataclass(frozen=True, kw_only=True)
class ImageSide:
    """An image encoder as training needs it.

    Attributes:
        top: tokens [B, L, .] of the store and keep [B, L] to tokens [B, L, H].
        width: H of the top's output.
        store: the tokens.
        about: what the encoder says of itself, for the run's record.
    """

    top: nn.Module
    width: int
    store: TokenStore
    about: dict[str, Any]


def load_image_side(block: Mapping[str, Any], seed: int, shards: Sequence[Path]) -> ImageSide:
    """Load an encoder's trainable top and open its store.

    Args:
        block: of ``encoders`` in the config; a region ViT's holds that of its source under ``source``.
        seed: the run's seed; only random weights depend on it. The projection of a region ViT is drawn from torch's
            global generator, as all other new weights of a row are.
        shards: of the store.

    Raises:
        InputError: weights that are missing or do not fit, or a store made by others.
    """
    library = block.get("library", "timm")
    if library == REGION_VIT:
        from lile.features.region_vit import load_region_vit

        store = open_image_store(block["source"], seed, shards, geometry=block["boxes"])
        own = {key: value for key, value in block.items() if key != "source"}
        top, width, about = load_region_vit(own, seed, store.width)
        if store.about.get("origin") == RANDOM:  # what a table says of the row must hold for all of it
            about |= {"origin": RANDOM}
        return ImageSide(top=top, width=width, store=store, about={**about, "source": store.about})
    if not reads_pictures(library):
        store = open_image_store(block, seed, shards)
        return ImageSide(top=PassThrough(), width=store.width, store=store, about=store.about)
    from lile.features.image_encoder import load_image_encoder

    encoder = load_image_encoder(dict(block), seed)
    about = encoder.about()
    return ImageSide(top=encoder.top, width=encoder.width, store=TokenStore(shards, expect=about), about=about)


def open_image_store(
    block: Mapping[str, Any], seed: int, shards: Sequence[Path], *, geometry: bool = False
) -> TokenStore:
    """Open the store of an encoder that has one.

    Args:
        block: of ``encoders`` in the config; no region ViT.
        seed: the run's seed.
        shards: of the store.
        geometry: read each region's box behind its features.

    Raises:
        InputError: the store is damaged or was made by another encoder.
    """
    library = block.get("library", "timm")
    if reads_pictures(library):
        from lile.features.image_encoder import load_image_encoder

        return TokenStore(shards, expect=load_image_encoder(dict(block), seed).about())
    expect: dict[str, Any] = {"library": library}
    if library == DETECTOR:
        # Without its weights' digest: a detector need not be there to train on its regions.
        expect |= {"regions": detector_rule(block)}
    return TokenStore(shards, expect=expect, geometry=geometry)
