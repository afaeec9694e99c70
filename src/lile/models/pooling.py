"""From a set of tokens to ``m`` maps (PAPER.md section 3).

Shapes: B items, L tokens, H encoder width, P hidden width, m maps, d joint width; ``keep`` is True at real tokens.

Source: the paper's "multi-head self-attention ... to obtain m enhanced feature maps" in the reading of PVSE
(Song & Soleymani 2019), on which the paper builds: ``A = softmax over tokens (W2 tanh(W1 T))`` and
``X = LayerNorm(A (T Wv))``. "Multi-head" can as well mean a ``Wv`` of each head's own: ``own_values``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lile.matching.items import Items
from lile.models.tokens import Pool, Tokens


class MapPooling(Pool):
    """Pool tokens [B, L, H] into maps [B, m, d]: m learned attentions over the tokens, then a projection.

    Args:
        token_width: H.
        maps: m.
        width: d.
        hidden: P, the width between ``W1`` and ``W2``; ``None`` is ``H // 2``.
        own_values: each map has a projection ``Wv`` of its own, so that maps differ before their attentions do.
    """

    def __init__(
        self, token_width: int, maps: int, width: int, hidden: int | None = None, *, own_values: bool = False
    ) -> None:
        super().__init__()
        hidden = hidden or max(1, token_width // 2)
        self.hidden = nn.Linear(token_width, hidden, bias=False)  # W1
        self.heads = nn.Linear(hidden, maps, bias=False)  # W2
        self.own_values = own_values
        self.values = nn.Linear(token_width, maps * width if own_values else width)  # Wv
        self.norm = nn.LayerNorm(width)

    def attention(self, tokens_BLH: Tensor, keep_BL: Tensor) -> Tensor:
        """Return A [B, m, L]: each row sums to one over the kept tokens and is zero at padding.

        Raises:
            ValueError: an item keeps no token.
        """
        if not bool(keep_BL.any(dim=1).all()):
            raise ValueError("an item has no token to attend to: its keep mask is all False")
        logits_BLm = self.heads(torch.tanh(self.hidden(tokens_BLH)))
        return logits_BLm.masked_fill(~keep_BL[..., None], -torch.inf).softmax(dim=1).mT

    def forward(self, tokens: Tokens) -> Items:
        """Return the maps X [B, m, d]. A's rows sum to one, so ``A (T Wv)`` equals ``(A T) Wv``, which is cheaper."""
        keep_BL = tokens.keep_BL
        # 0 * padding must be 0 even where padding is not finite
        clean_BLH = tokens.context_BLE.masked_fill(~keep_BL[..., None], 0.0)
        return Items(self.norm(self.projected(self.attention(clean_BLH, keep_BL) @ clean_BLH)), None)

    def projected(self, attended_BmH: Tensor) -> Tensor:
        """Return ``Wv`` of each attended vector, [B, m, d]."""
        if not self.own_values:
            return self.values(attended_BmH)
        maps = attended_BmH.shape[1]
        weight_mdH, bias_md = self.values.weight.unflatten(0, (maps, -1)), self.values.bias.unflatten(0, (maps, -1))
        return torch.einsum("bmh,mdh->bmd", attended_BmH, weight_mdH) + bias_md
