"""VSE-infinity's generalised pooling: each dimension's values in falling order, weighted by their rank.

Shapes: B items, L tokens, E width of the tokens, d joint width, U different lengths in a batch, P width of a position.

Source: Chen et al. 2021: mean, maximum and k-maximum pooling are weights of this kind; they are learnt here by a small
GRU that reads the positions 0 .. n - 1 of an item with n tokens. Deviation: none in the pooling; what goes before it is
one linear layer for both sides.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lile.matching.items import Items
from lile.models.recurrent import Recurrent
from lile.models.tokens import Pool, Tokens

TEMPERATURE = 0.1  # of the softmax over ranks


class GeneralisedPooling(Pool):
    """One vector of unit length per item, [B, 1, d].

    Args:
        token_width: E.
        width: d.
        position_width: P, of a position's code; even.
        hidden: width of the GRU over positions.
    """

    def __init__(self, token_width: int, width: int, position_width: int = 32, hidden: int = 32) -> None:
        super().__init__()
        self.project = nn.Linear(token_width, width)
        self.position_width = position_width
        self.recurrent = Recurrent(position_width, hidden, both=True)
        self.weigh = nn.Linear(hidden, 1, bias=False)

    def forward(self, tokens: Tokens) -> Items:
        """Return vectors [B, 1, d]."""
        lengths_B = tokens.keep_BL.sum(dim=1)
        padding_BL1 = ~tokens.keep_BL[..., None]
        values_BLd = self.project(tokens.context_BLE.masked_fill(padding_BL1, 0.0))
        sorted_BLd = values_BLd.masked_fill(padding_BL1, -torch.inf).sort(dim=1, descending=True).values
        sorted_BLd = sorted_BLd[:, : int(lengths_B.max())]
        sorted_BLd = sorted_BLd.masked_fill(sorted_BLd == -torch.inf, 0.0)  # padding has sunk to the end
        pooled_Bd = (self.weights(lengths_B)[:, None, :] @ sorted_BLd)[:, 0]
        return Items(normalize(pooled_Bd, dim=-1)[:, None], None)

    def weights(self, lengths_B: Tensor) -> Tensor:
        """Return the weight of each rank [B, longest] for items of these lengths; zero from an item's length on.

        Raises:
            ValueError: an item has no token.
        """
        lengths_U, own_B = lengths_B.unique(return_inverse=True)
        codes_LP = position_codes(int(lengths_U[-1]), self.position_width).to(self.weigh.weight)
        keep_UL = torch.arange(len(codes_LP), device=lengths_B.device) < lengths_U[:, None]
        states_ULh, _ = self.recurrent(codes_LP.expand(len(lengths_U), -1, -1), keep_UL)
        logits_UL = self.weigh(states_ULh)[..., 0].masked_fill(~keep_UL, -torch.inf)
        return (logits_UL / TEMPERATURE).softmax(dim=1)[own_B]


def position_codes(count: int, width: int) -> Tensor:
    """Return codes [count, width] of the positions 0 .. count - 1: sines and cosines in turn, as in Vaswani et al."""
    rates_w = (torch.arange(0, width, 2) * (-math.log(10_000.0) / width)).exp()
    angles_Lw = torch.arange(count)[:, None] * rates_w
    return torch.stack([angles_Lw.sin(), angles_Lw.cos()], dim=-1).flatten(1)
