"""Caption words, object tags and image regions through one BERT, and a binary match score.

Source: Li et al. 2020 (OSCAR): regions are projected linearly to BERT's width and appended to the embedded words, all
attend to all, and a linear classifier on the pooled first token says whether image and caption belong together.

Shapes: B pairs, L words (tags counted), R regions, F width of a stored token, H BERT's width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import BertModel


class CrossEncoder(nn.Module):
    """Score pairs of a caption and an image by reading both at once.

    Args:
        bert: a BERT with its pooler.
        region_width: F.
        region_norm: epsilon of a LayerNorm after the projection of regions; ``None`` for none.
        trainable_blocks: last layers that train; ``None`` for all of BERT. The projection of regions, the pooler and
            the classifier always train. What does not train runs without dropout.

    Attributes:
        projection: regions to BERT's width (OSCAR's ``img_embedding``).
        classifier: two logits, as published: no match and match.
    """

    def __init__(
        self, bert: BertModel, region_width: int, region_norm: float | None = None, trainable_blocks: int | None = None
    ) -> None:
        super().__init__()
        width = bert.config.hidden_size
        self.bert = bert
        self.projection = nn.Linear(region_width, width)
        self.norm = nn.Identity() if region_norm is None else nn.LayerNorm(width, eps=region_norm)
        self.dropout = nn.Dropout(bert.config.hidden_dropout_prob)
        self.classifier = nn.Linear(width, 2)
        self._start(bert.config.initializer_range)
        self._frozen = frozen_parts(bert, trainable_blocks)
        for part in self._frozen:
            part.requires_grad_(False)

    def _start(self, spread: float) -> None:
        """Begin with BERT's own initialisation where nothing is loaded."""
        for layer in (self.projection, self.classifier):
            nn.init.normal_(layer.weight, std=spread)
            nn.init.zeros_(layer.bias)

    def train(self, mode: bool = True) -> CrossEncoder:
        """Leave what is frozen in evaluation mode."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def forward(
        self, words_BL: Tensor, segments_BL: Tensor, word_keep_BL: Tensor, regions_BRF: Tensor, region_keep_BR: Tensor
    ) -> Tensor:
        """Return the match logit of each pair, [B]: above zero where a match is the likelier of the two.

        It is the difference of the classifier's two logits, so its sigmoid is the softmax's share of a match.

        Args:
            words_BL: token ids: caption, then tags.
            segments_BL: 0 in the caption, 1 in the tags.
            word_keep_BL: False at padding.
            regions_BRF: stored image tokens; zero of them (R = 0) reads the caption alone.
            region_keep_BR: False at padding.
        """
        words_BLH = self.bert.embeddings(input_ids=words_BL, token_type_ids=segments_BL)
        # Regions have neither position nor segment, as published: their place is in their features, if anywhere.
        regions_BRH = self.dropout(self.norm(self.projection(regions_BRF)))
        keep_BA = torch.cat([word_keep_BL, region_keep_BR], dim=1)
        # True where a key may be looked at: the mask that `sdpa` takes, spread over heads and queries.
        found = self.bert.encoder(torch.cat([words_BLH, regions_BRH], dim=1), keep_BA[:, None, None, :])
        assert self.bert.pooler is not None
        logits_B2 = self.classifier(self.dropout(self.bert.pooler(found.last_hidden_state)))
        return logits_B2[:, 1] - logits_B2[:, 0]


def frozen_parts(bert: BertModel, trainable_blocks: int | None) -> list[nn.Module]:
    """Return the parts of BERT that do not train: none, or its embeddings and all but the last layers."""
    if trainable_blocks is None:
        return []
    layers = list(bert.encoder.layer)
    return [bert.embeddings, *layers[: max(0, len(layers) - trainable_blocks)]]
