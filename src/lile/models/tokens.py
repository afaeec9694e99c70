"""What passes between the stages of one side of a model: top -> context -> pooling.

Shapes: B items, L tokens, H width of the top, E width of the context, r vectors, d joint width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from lile.matching.items import Items


@dataclass(frozen=True, slots=True)
class Tokens:
    """A batch of items on its way to the pooling."""

    local_BLH: Tensor
    """After the top (the encoder's blocks, or the embedding of words) and the graph, if there is one. PVSE attends to
    these."""
    context_BLE: Tensor
    """After the GRU; the same as ``local_BLH`` where the side has none."""
    keep_BL: Tensor
    """True at real tokens."""
    last_BE: Tensor | None = None
    """Final state of the GRU, the mean of both directions where it has two; None without a GRU."""


class Pool(nn.Module, ABC):
    """From tokens to the vectors an item is matched by."""

    @abstractmethod
    def forward(self, tokens: Tokens) -> Items:
        """Return vectors [B, r, d] and keep [B, r], None where every item has r of them."""
