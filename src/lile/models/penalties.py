"""What PVSE adds to its loss: maps of one item should differ, and images and texts should spread alike.

Shapes: B items, m maps, d width, n and k vectors.

Source: Song & Soleymani 2019 and their code. Both are computed in float64: at small distances the difference of two
lengths leaves nothing in less, and autocast would take the products in bfloat16.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

SMALLEST = 1e-12  # a squared distance below this counts as zero, where the gradient is zero


def diversity(residuals_Bmd: Tensor) -> Tensor:
    """Return how alike an item's residuals [B, m, d] are, a scalar: 0 where they are orthogonal, below 1 always.

    The mean over items of ``|| G - diag(G) ||_F / m^2`` with ``G`` [m, m] the cosines of an item's residuals.
    """
    unit_Bmd = normalize(residuals_Bmd.double(), dim=-1)
    maps = unit_Bmd.shape[1]
    gram_Bmm = unit_Bmd @ unit_Bmd.mT
    between_Bmm = gram_Bmm.masked_fill(torch.eye(maps, dtype=torch.bool, device=gram_Bmm.device), 0.0)
    return (torch.linalg.matrix_norm(between_Bmm).mean() / maps**2).to(residuals_Bmd.dtype)


def discrepancy(x_nd: Tensor, y_kd: Tensor, gamma: float = 0.5) -> Tensor:
    """Return the maximum mean discrepancy of two sets of vectors [n, d] and [k, d], a scalar: 0 where they are equal.

    ``mean k(x, x) - 2 mean k(x, y) + mean k(y, y)`` with ``k = exp(-gamma |x - y|)``: the distance is not squared.
    """
    x_nd, y_kd, kind = x_nd.double(), y_kd.double(), x_nd.dtype
    between = _kernel(x_nd, y_kd, gamma).mean()
    return (_kernel(x_nd, x_nd, gamma).mean() - 2 * between + _kernel(y_kd, y_kd, gamma).mean()).to(kind)


def _kernel(x_nd: Tensor, y_kd: Tensor, gamma: float) -> Tensor:
    """Return ``exp(-gamma |x - y|)`` [n, k]. Not ``torch.cdist``: its gradient on a GPU holds [n, k, d] at once."""
    squares_nk = x_nd.square().sum(1)[:, None] + y_kd.square().sum(1) - 2 * x_nd @ y_kd.T
    distances_nk = squares_nk.clamp_min(SMALLEST).sqrt()
    return (-gamma * distances_nk).exp()
