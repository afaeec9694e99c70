"""Words of a caption as trained vectors, the text side of VSE++, SCAN, VSRN and IMRAM.

Shapes: B captions, L words of the longest, E width of a word's vector.
"""

from __future__ import annotations

from torch import Tensor, nn

RANGE = 0.1  # the published codes draw words uniformly from (-0.1, 0.1)


class WordEmbedding(nn.Module):
    """One trained vector per word, drawn uniformly from (-0.1, 0.1) at the start.

    Args:
        vocabulary_size: words of the vocabulary, its markers among them.
        word_width: E.
    """

    def __init__(self, vocabulary_size: int, word_width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary_size, word_width)
        nn.init.uniform_(self.table.weight, -RANGE, RANGE)

    def forward(self, words_BL: Tensor) -> Tensor:
        """Return vectors [B, L, E] of int64 word ids [B, L]."""
        return self.table(words_BL)
