"""Scores without attention: the inner product of one vector per item, or the largest of any two vectors (PVSE).

Shapes: N images, M texts, r vectors of the longest item, d width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lile.errors import InputError
from lile.matching.items import checked_items

TILE_PAIRS = 1 << 22  # vector pairs of a tile of the largest inner products: 16 MiB


class VectorScores(nn.Module):
    """``dot``: <v, w> of the items' only vectors. ``max``: the largest <v_i, w_j> over both items' vectors.

    Vectors come at unit length where cosines are meant; none is changed here.

    Args:
        kind: ``dot`` or ``max``.
    """

    alpha: None = None
    """There is no term to weigh."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        assert kind in ("dot", "max")
        self.kind = kind

    def scores(
        self, images: Tensor, texts: Tensor, image_keep: Tensor | None = None, text_keep: Tensor | None = None
    ) -> Tensor:
        """Return S [N, M] of every image with every text, in float32 (float64 for float64 vectors).

        Args and errors: see :meth:`lile.matching.matcher.IterativeMatching.scores`; and

        Raises:
            InputError: ``dot`` with several vectors in an item, or sides of unlike width.
        """
        if images.shape[-1] != texts.shape[-1]:
            raise InputError(f"images have vectors of width {images.shape[-1]}, texts of {texts.shape[-1]}")
        kind = torch.promote_types(torch.promote_types(images.dtype, texts.dtype), torch.float32)
        with torch.autocast(images.device.type, enabled=False):
            v = checked_items("images", images.to(kind), image_keep, images.shape[-1])
            w = checked_items("texts", texts.to(kind), text_keep, texts.shape[-1])
            if self.kind == "dot":
                _check_single(v.vectors, w.vectors)
                return v.vectors[:, 0] @ w.vectors[:, 0].T
            return largest_products(v.vectors, w.vectors, v.keep, w.keep)


def largest_products(
    images_Nrd: Tensor, texts_Mrd: Tensor, image_keep_Nr: Tensor | None, text_keep_Mr: Tensor | None
) -> Tensor:
    """Return max over i, j of <v_i, w_j>, [N, M]; vectors that are not kept take no part. In tiles of images."""
    texts = texts_Mrd.flatten(0, 1)
    step = max(1, TILE_PAIRS // (len(texts) * images_Nrd.shape[1]))
    rows = []
    for start in range(0, len(images_Nrd), step):
        tile = images_Nrd[start : start + step]
        products = (tile.flatten(0, 1) @ texts.T).unflatten(0, tile.shape[:2]).unflatten(2, texts_Mrd.shape[:2])
        if text_keep_Mr is not None:
            products = products.masked_fill(~text_keep_Mr, -torch.inf)
        if image_keep_Nr is not None:
            products = products.masked_fill(~image_keep_Nr[start : start + step, :, None, None], -torch.inf)
        rows.append(products.amax(dim=(1, 3)))
    return torch.cat(rows)


def _check_single(images_Nrd: Tensor, texts_Mrd: Tensor) -> None:
    for name, vectors in (("images", images_Nrd), ("texts", texts_Mrd)):
        if vectors.shape[1] != 1:
            raise InputError(
                f"{name}: items have {vectors.shape[1]} vectors, but matching.kind: dot scores one vector per item; "
                "choose a pooling that leaves one, or matching.kind: max"
            )
