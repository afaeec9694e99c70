"""The gated memory of Eq. 3, and the halves into which its two matrices fall (PAPER.md section 8).

Shapes: d width; a leading ``...`` is any batch shape.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SHUT = -200.0  # its sigmoid is zero in float32


class GatedMemory(nn.Module):
    """``g = sigmoid(Ug [x; a] + bg)``, ``o = tanh(Uo [x; a] + bo)``, ``x <- g * x + (1 - g) * o`` (Eq. 3).

    Args:
        width: d.
        gated: without it g is zero, so that ``x <- o``; the gate's weights are then fixed where they make it so, and
            all that scores a gated memory scores this one.
    """

    def __init__(self, width: int, *, gated: bool = True) -> None:
        super().__init__()
        self.width = width
        self.gate = nn.Linear(2 * width, width)  # Ug, bg
        self.update = nn.Linear(2 * width, width)  # Uo, bo
        if not gated:
            nn.init.zeros_(self.gate.weight)
            nn.init.constant_(self.gate.bias, SHUT)
            self.gate.requires_grad_(False)

    def query_half(self, x: Tensor) -> Tensor:
        """Return ``[Ug_x x + bg; Uo_x x + bo]`` [..., 2d] for queries x [..., d]."""
        return functional.linear(x, *self.query_weights())

    def query_weights(self) -> tuple[Tensor, Tensor]:
        """Return the query half's matrix [2d, d], gate above update, and its bias [2d]."""
        weight = torch.cat([self.gate.weight[:, : self.width], self.update.weight[:, : self.width]])
        return weight, torch.cat([self.gate.bias, self.update.bias])

    def context_half(self, y: Tensor) -> Tensor:
        """Return ``[Ug_a y; Uo_a y]`` [..., 2d] for context vectors y [..., d]; it commutes with attention."""
        weight = torch.cat([self.gate.weight[:, self.width :], self.update.weight[:, self.width :]])
        return functional.linear(y, weight)

    def blend(self, x: Tensor, preactivation: Tensor) -> Tensor:
        """Return the refined query [..., d] from x [..., d] and the sum of both halves [..., 2d]."""
        gate, update = preactivation.split(self.width, dim=-1)
        return torch.lerp(update.tanh(), x, gate.sigmoid())
