"""A model put together: two sides and a matcher (PAPER.md sections 2 to 5). LILE is the default configuration.

Shapes: B items, R or L tokens (L in the code), H encoder width, N images, M texts, r vectors, d width.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from lile.matching.items import Items
from lile.matching.matcher import IterativeMatching
from lile.matching.vector_scores import VectorScores
from lile.models.caption_decoder import CaptionDecoder
from lile.models.config import ModelConfig
from lile.models.penalties import discrepancy, diversity
from lile.models.residual_maps import ResidualMaps
from lile.models.side import Side
from lile.models.words import WordEmbedding


@dataclass(frozen=True, slots=True)
class SideParts:
    """What a side starts from."""

    top: nn.Module
    """The encoder's trainable blocks, or an embedding of words."""
    width: int
    """H of its output."""


class RetrievalModel(nn.Module):
    """Encode stored tokens or words into vectors, and score vectors against vectors.

    Args:
        config: the model's block of the config.
        image: what the image side starts from.
        text: the same of the text side.
    """

    def __init__(self, config: ModelConfig, image: SideParts, text: SideParts) -> None:
        super().__init__()
        self.config = config
        self.image = Side(config.image, config, image.top, image.width)
        self.text = Side(config.text, config, text.top, text.width)
        matching = config.matching
        self.matcher: IterativeMatching | VectorScores = (
            IterativeMatching(config.width, config.steps, matching)
            if matching.kind == "iterative"
            else VectorScores(matching.kind)
        )
        self.decoder = _decoder(config, self.image.local_width, text.top) if config.loss.caption else None

    def encode_images(self, tokens_BLH: Tensor, keep_BL: Tensor) -> Items:
        """Return image vectors [B, r, d] from stored tokens [B, L, H] and their keep mask [B, L]."""
        return self.image(tokens_BLH, keep_BL)

    def encode_texts(self, tokens_BL: Tensor, keep_BL: Tensor) -> Items:
        """Return text vectors [B, r, d] from stored tokens [B, L, H] or word ids [B, L] and their keep mask [B, L]."""
        return self.text(tokens_BL, keep_BL)

    def scores(self, images: Items, texts: Items) -> Tensor:
        """Return S [N, M] for image vectors [N, r, d] and text vectors [M, r, d]."""
        return self.matcher.scores(images.vectors, texts.vectors, images.keep, texts.keep)

    def forward(
        self, image_tokens: Tensor, image_keep: Tensor, text_tokens: Tensor, text_keep: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return S [B, B] of a batch, and the loss's further terms: a scalar for each that has a weight."""
        image = self.image.tokens(image_tokens, image_keep)
        text = self.text.tokens(text_tokens, text_keep)
        loss, terms = self.config.loss, dict[str, Tensor]()
        if loss.diversity:
            assert isinstance(self.image.pool, ResidualMaps), "the config refuses diversity without residual maps"
            assert isinstance(self.text.pool, ResidualMaps), "the config refuses diversity without residual maps"
            images, image_residuals = self.image.pool.with_residuals(image)
            texts, text_residuals = self.text.pool.with_residuals(text)
            terms["diversity"] = diversity(image_residuals) + diversity(text_residuals)
        else:
            images, texts = self.image.pool(image), self.text.pool(text)
        if loss.discrepancy:
            terms["discrepancy"] = discrepancy(_all_vectors(images), _all_vectors(texts))
        if self.decoder is not None:
            terms["caption"] = self.decoder(image.local_BLH, image_keep, text_tokens, text_keep)
        return self.scores(images, texts), terms


def _decoder(config: ModelConfig, width: int, words: nn.Module) -> CaptionDecoder:
    assert isinstance(words, WordEmbedding), "the config refuses a caption loss without words"
    return CaptionDecoder(words.table.num_embeddings, width, word_width=config.text.word_width)


def _all_vectors(items: Items) -> Tensor:
    """Return the vectors that are there, [n, d]."""
    return items.vectors.flatten(0, 1) if items.keep is None else items.vectors[items.keep]
