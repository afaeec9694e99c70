"""PVSE's m vectors per item: what m attentions find among the tokens, added to one global vector.

Shapes: B items, L tokens, H width of the tokens attended to, E width of the context, m maps, d joint width.

Source: Song & Soleymani 2019 and their code: ``A = softmax over tokens (W2 tanh(W1 X))``, ``R = sigmoid(Wfc (A X))``,
vectors ``LayerNorm(g + R)`` at unit length. The global vector g is the GRU's final state where there is a GRU, else a
linear layer of the mean token. Deviation: of a GRU in both directions g is the mean of two states of width d, not two
states of width d / 2 side by side.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import normalize

from lile.matching.items import Items
from lile.models.pooling import MapPooling
from lile.models.tokens import Pool, Tokens
from lile.models.vectors import mean_of


class ResidualMaps(Pool):
    """m vectors of unit length per item, [B, m, d].

    Args:
        local_width: H.
        context_width: E; d where there is a GRU.
        maps: m.
        width: d.
        hidden: width between ``W1`` and ``W2``; ``None`` is ``H // 2``.
        recurrent: whether the side has a GRU, whose final state is the global vector.
    """

    def __init__(
        self,
        local_width: int,
        context_width: int,
        maps: int,
        width: int,
        hidden: int | None = None,
        recurrent: bool = False,
    ) -> None:
        super().__init__()
        self.maps = MapPooling(local_width, maps, width, hidden)  # its attention, its values (Wfc), its LayerNorm
        self.project = None if recurrent else nn.Linear(context_width, width)

    def residuals(self, tokens: Tokens) -> Tensor:
        """Return R [B, m, d], each number between 0 and 1. Raises ``ValueError`` where an item has no token."""
        clean_BLH = tokens.local_BLH.masked_fill(~tokens.keep_BL[..., None], 0.0)
        return self.maps.values(self.maps.attention(clean_BLH, tokens.keep_BL) @ clean_BLH).sigmoid()

    def forward(self, tokens: Tokens) -> Items:
        """Return vectors [B, m, d]."""
        return self.with_residuals(tokens)[0]

    def with_residuals(self, tokens: Tokens) -> tuple[Items, Tensor]:
        """Return vectors [B, m, d] and the residuals R [B, m, d] that they hold, for the diversity term."""
        residuals_Bmd = self.residuals(tokens)
        vectors_Bmd = self.maps.norm(self._whole(tokens)[:, None] + residuals_Bmd)
        return Items(normalize(vectors_Bmd, dim=-1), None), residuals_Bmd

    def _whole(self, tokens: Tokens) -> Tensor:
        """Return the global vector [B, d]."""
        if self.project is not None:
            return self.project(mean_of(tokens.context_BLE, tokens.keep_BL))
        assert tokens.last_BE is not None, "built for a side with a GRU, whose final state is missing"
        return tokens.last_BE
