"""Residual graph layers over an item's tokens (VSRN).

Shapes: B items, L tokens, H width of what comes in, d of what goes out, e width inside a layer,
T kept tokens of a batch.

Source: Li et al. 2019 and their code: a linear layer, unit length over the REGIONS (each dimension over an item's
tokens), graph layers, unit length over the regions again. Affinities have no softmax and are divided by the number
of tokens. Deviation: items may be ragged; padding takes no part, neither in the affinities nor in a batch's statistics.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class GraphLayer(nn.Module):
    """``v + BN(Wo R g(v))`` with ``R = theta(v)^T phi(v) / N``; starts as the identity, for BN's scale starts at zero.

    Args:
        width: d.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = max(1, width // 2)
        self.theta, self.phi, self.values = (nn.Linear(width, inner) for _ in range(3))  # convolutions over one region
        self.out = nn.Linear(inner, width, bias=False)  # batch norm takes its mean off and adds a bias of its own
        self.norm = nn.BatchNorm1d(width)
        nn.init.zeros_(self.norm.weight)

    def forward(self, tokens_BLd: Tensor, keep_BL: Tensor) -> Tensor:
        """Return the tokens [B, L, d] after one layer; what is not kept must be zero, and stays so."""
        phi_BLe = self.phi(tokens_BLd).masked_fill(~keep_BL[..., None], 0.0)  # so that nothing looks at padding
        affinity_BLL = self.theta(tokens_BLd) @ phi_BLe.mT / keep_BL.sum(dim=1)[:, None, None]
        attended_BLe = affinity_BLL @ self.values(tokens_BLd)
        kept_Td = self._normed(self.out(attended_BLe[keep_BL]))
        return tokens_BLd.index_put((keep_BL,), tokens_BLd[keep_BL] + kept_Td)

    def _normed(self, kept_Td: Tensor) -> Tensor:
        """Batch norm over the kept tokens of all items. One token alone has no spread: it takes the running figures."""
        if self.training and len(kept_Td) == 1:
            norm = self.norm
            return nn.functional.batch_norm(
                kept_Td, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )
        return self.norm(kept_Td)


class RegionGraph(nn.Module):
    """Tokens that have looked at each other, ``layers`` times.

    In training a batch's items share the statistics of batch norm: give it whole batches, not parts of one.

    Args:
        token_width: H.
        width: d.
        layers: graph layers; VSRN has four.
    """

    def __init__(self, token_width: int, width: int, layers: int) -> None:
        super().__init__()
        self.project = nn.Linear(token_width, width)
        self.layers = nn.ModuleList(GraphLayer(width) for _ in range(layers))

    def forward(self, tokens_BLH: Tensor, keep_BL: Tensor) -> Tensor:
        """Return tokens [B, L, d], zero at padding: each dimension has unit length over an item's tokens."""
        # Not in bfloat16: where an item has one token, its unit length leaves a gradient that is all rounding.
        with torch.autocast(tokens_BLH.device.type, enabled=False):
            # masked on both sides of the layer: before it, or its gradient is 0 * padding; after it, or its bias stays
            padding_BL1 = ~keep_BL[..., None]
            clean_BLH = tokens_BLH.to(self.project.weight.dtype).masked_fill(padding_BL1, 0.0)
            tokens_BLd = normalize(self.project(clean_BLH).masked_fill(padding_BL1, 0.0), dim=1)
            for layer in self.layers:
                tokens_BLd = layer(tokens_BLd, keep_BL)
            return normalize(tokens_BLd, dim=1)
