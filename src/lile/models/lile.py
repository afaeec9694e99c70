"""LILE put together: trainable encoder tops, map pooling, iterative matching (PAPER.md sections 2 to 5).

Shapes: B items, R or L tokens (L in the code), H encoder width, N images, M texts, m maps, d width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lile.matching.matcher import IterativeMatching
from lile.models.config import ModelConfig
from lile.models.pooling import MapPooling

CHUNK = 16  # items of like length that go through a top together


class LILE(nn.Module):
    """Encode stored tokens into maps, and score maps against maps.

    Args:
        config: the model's block of the config.
        image_width: H of the image encoder.
        text_width: H of the text encoder.
        image_top: the image encoder's trainable blocks: (tokens [B, L, H], keep [B, L]) -> [B, L, H].
        text_top: the same of the text encoder.
    """

    def __init__(
        self, config: ModelConfig, image_width: int, text_width: int, image_top: nn.Module, text_top: nn.Module
    ) -> None:
        super().__init__()
        self.config = config
        self.image_top, self.text_top = image_top, text_top
        self.image_pool = MapPooling(image_width, config.maps, config.width, config.pooling.hidden)
        self.text_pool = MapPooling(text_width, config.maps, config.width, config.pooling.hidden)
        self.matcher = IterativeMatching(config.width, config.steps, config.matching)

    def encode_images(self, tokens_BLH: Tensor, keep_BL: Tensor) -> Tensor:
        """Return image maps [B, m, d] from stored tokens [B, L, H] and their keep mask [B, L]."""
        return pooled(self.image_top, self.image_pool, tokens_BLH, keep_BL)

    def encode_texts(self, tokens_BLH: Tensor, keep_BL: Tensor) -> Tensor:
        """Return text maps [B, m, d] from stored tokens [B, L, H] and their keep mask [B, L]."""
        return pooled(self.text_top, self.text_pool, tokens_BLH, keep_BL)

    def scores(self, images_Nmd: Tensor, texts_Mmd: Tensor) -> Tensor:
        """Return S [N, M] of Eq. 7 for image maps [N, m, d] and text maps [M, m, d]."""
        return self.matcher.scores(images_Nmd, texts_Mmd)

    def forward(self, image_tokens: Tensor, image_keep: Tensor, text_tokens: Tensor, text_keep: Tensor) -> Tensor:
        """Return S [N, M] from the tokens of N images and M texts."""
        return self.scores(self.encode_images(image_tokens, image_keep), self.encode_texts(text_tokens, text_keep))


def pooled(top: nn.Module, pool: nn.Module, tokens_BLH: Tensor, keep_BL: Tensor) -> Tensor:
    """Return maps [B, m, d] of ragged items, without spending time on padding.

    Items of like length go through ``top`` and ``pool`` together, cut to the longest among them: with captions of 2 to
    484 tokens most of a padded batch would be padding. No item sees another, so this changes no result.
    """
    if bool(keep_BL.all()):
        return pool(top(tokens_BLH, keep_BL), keep_BL)
    lengths_B = keep_BL.sum(dim=1)
    order_B = lengths_B.argsort(stable=True)
    maps = []
    for chunk in order_B.split(CHUNK):
        longest = int(lengths_B[chunk].max())
        tokens, keep = tokens_BLH[chunk, :longest], keep_BL[chunk, :longest]
        maps.append(pool(top(tokens, keep), keep))
    return torch.cat(maps)[order_B.argsort()]
