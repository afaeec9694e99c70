"""The K steps of one direction (Eq. 1 to 4 and 6) without the d x d work per pair; differentiable, exact.

Shapes: P pairs or queries at a time, i of r_x query vectors, j of r_y context vectors, d width. ``context`` may be one
item without a leading axis that serves all P queries. docs/engine.md derives each identity.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lile.matching.config import SLOPES, Clip, MatchingConfig
from lile.matching.memory import GatedMemory
from lile.matching.sides import EPS, Side, length, mean_over


def clipped(similarities: Tensor, clip: Clip) -> Tensor:
    """Return what Eq. 1 keeps: ``relu`` as printed, ``leaky_relu_0.1`` as in IMRAM's code, ``none`` changes nothing."""
    return functional.leaky_relu(similarities, SLOPES[clip])


def attention(gram_Pij: Tensor, x_lengths: Tensor, context: Side, config: MatchingConfig) -> Tensor:
    """Eq. 1 and 2: alpha [P, i, j] from inner products (zero where there is no query) and lengths."""
    s_Pij = gram_Pij
    if config.similarity == "cosine":
        s_Pij = gram_Pij / (x_lengths[..., :, None] * context.lengths[..., None, :])
    kept_Pij = clipped(s_Pij, config.clip)
    sbar_Pij = kept_Pij / length(kept_Pij.mT)[..., None, :]  # over the query axis i, per context j
    logits_Pij = config.inverse_temperature * sbar_Pij
    if context.keep is not None:
        logits_Pij = logits_Pij.masked_fill(~context.keep[..., None, :], -torch.inf)
    return logits_Pij.softmax(dim=-1)


def attended_length(alpha_Pij: Tensor, context: Side) -> Tensor:
    """Return |a_i| [P, i] of ``a_i = sum_j alpha_ij y_j`` from the context's own inner products."""
    wide_Pij = alpha_Pij.double()
    square_Pi = ((wide_Pij @ context.gram) * wide_Pij).sum(-1)
    return square_Pi.clamp_min(EPS**2).sqrt().to(alpha_Pij.dtype)


def aggregated(cosines_Pi: Tensor, keep: Tensor | None, config: MatchingConfig) -> Tensor:
    """Return [P]: the mean over an item's vectors (Eq. 6), or SCAN's LogSumExp."""
    if config.aggregate == "mean":
        return mean_over(cosines_Pi, keep)
    scaled_Pi = config.lse_inverse_temperature * cosines_Pi
    if keep is not None:
        scaled_Pi = scaled_Pi.masked_fill(~keep, -torch.inf)
    return scaled_Pi.logsumexp(-1) / config.lse_inverse_temperature


def cross_term(query: Side, context: Side, memory: GatedMemory | None, steps: int, config: MatchingConfig) -> Tensor:
    """Return ``sum_k mean_i cos(v_i, a_i^k)`` [P] (Eq. 6 and 7) for P queries against P contexts, or against one.

    Args:
        query: P items.
        context: P items, or one item without a leading axis.
        memory: the gate of this direction; None at K = 1.
        steps: K.
        config: the knobs.
    """
    x, x_lengths, pre = query.vectors, query.lengths, query.query_half
    gram_Pij = operand_gram_Pij = x @ context.vectors.mT
    total_P = torch.zeros_like(x_lengths[..., 0])
    for step in range(1, steps + 1):
        alpha_Pij = attention(gram_Pij, x_lengths, context, config)
        if config.score_operand == "refined" or step == 1:
            operand_gram_Pij, operand_lengths = gram_Pij, x_lengths
        inner_Pi = (alpha_Pij * operand_gram_Pij).sum(-1)  # <v_i, a_i> without forming a_i
        cosines_Pi = inner_Pi / (operand_lengths * attended_length(alpha_Pij, context))
        total_P = total_P + aggregated(cosines_Pi, query.keep, config)
        if step == steps:
            break  # the last gate has no effect on the score
        assert memory is not None
        assert context.context_half is not None
        assert pre is not None
        x = memory.blend(x, pre + alpha_Pij @ context.context_half)  # Eq. 3: attention commutes with the gate's half
        if config.renormalise:
            x = x / length(x)[..., None]
        if query.keep is not None:
            x = x * query.keep[..., None]
        x_lengths, gram_Pij = length(x), x @ context.vectors.mT
        pre = memory.query_half(x) if step + 1 < steps else None
    return total_P
