"""LILE put together: trainable encoder tops, map pooling, iterative matching (PAPER.md sections 2 to 5).

Shapes: B items, R or L tokens (L in the code), H encoder width, N images, M texts, m maps, d width.
"""

from __future__ import annotations

from torch import Tensor, nn

from lile.models.config import ModelConfig
from lile.models.matching import IterativeMatching
from lile.models.pooling import MapPooling


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
        return self.image_pool(self.image_top(tokens_BLH, keep_BL), keep_BL)

    def encode_texts(self, tokens_BLH: Tensor, keep_BL: Tensor) -> Tensor:
        """Return text maps [B, m, d] from stored tokens [B, L, H] and their keep mask [B, L]."""
        return self.text_pool(self.text_top(tokens_BLH, keep_BL), keep_BL)

    def scores(self, images_Nmd: Tensor, texts_Mmd: Tensor) -> Tensor:
        """Return S [N, M] of Eq. 7 for image maps [N, m, d] and text maps [M, m, d]."""
        return self.matcher.scores(images_Nmd, texts_Mmd)

    def forward(self, image_tokens: Tensor, image_keep: Tensor, text_tokens: Tensor, text_keep: Tensor) -> Tensor:
        """Return S [N, M] from the tokens of N images and M texts."""
        return self.scores(self.encode_images(image_tokens, image_keep), self.encode_texts(text_tokens, text_keep))
