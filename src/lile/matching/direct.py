"""Eq. 1 to 7, line by line: slow, obviously right, the twin that the engine is compared with.

Shapes: P pairs (image p with text p), i of the query's vectors, j of the context's, d width; X asks, Y is the context
(PAPER.md sections 1 and 4). ``keep`` masks [P, r] say which vectors are there.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lile.matching.config import MatchingConfig
from lile.matching.matcher import IterativeMatching
from lile.matching.memory import GatedMemory

EPS = 1e-8  # a length below this counts as zero, as in the published codes


def unit(x: Tensor) -> Tensor:
    """Return the vectors of the last axis at length one; a zero vector stays zero."""
    return x / x.norm(dim=-1, keepdim=True).clamp_min(EPS)


def attend(x_Pid: Tensor, y_Pjd: Tensor, y_keep_Pj: Tensor, config: MatchingConfig) -> Tensor:
    """Return the attended context ``a`` [P, i, d] of Eq. 1 and 2."""
    s_Pij = unit(x_Pid) @ unit(y_Pjd).mT if config.similarity == "cosine" else x_Pid @ y_Pjd.mT  # (1)
    slope = {"relu": 0.0, "leaky_relu_0.1": 0.1, "none": 1.0}[config.clip]
    kept_Pij = functional.leaky_relu(s_Pij, slope)
    sbar_Pij = kept_Pij / kept_Pij.norm(dim=1, keepdim=True).clamp_min(EPS)  # (1), over the query axis i
    logits_Pij = (config.inverse_temperature * sbar_Pij).masked_fill(~y_keep_Pj[:, None, :], -torch.inf)
    alpha_Pij = logits_Pij.softmax(dim=2)  # (2)
    return alpha_Pij @ y_Pjd  # (2)


def refine(x_Pid: Tensor, a_Pid: Tensor, memory: GatedMemory | None, renormalise: bool) -> Tensor:
    """Return the refined query [P, i, d] of Eq. 3 and 4."""
    assert memory is not None, "there is a gate wherever there is a next step"
    both_PiD = torch.cat([x_Pid, a_Pid], dim=-1)
    g, o = memory.gate(both_PiD).sigmoid(), memory.update(both_PiD).tanh()
    refined = g * x_Pid + (1 - g) * o
    return unit(refined) if renormalise else refined


def together(cosines_Pi: Tensor, keep_Pi: Tensor, config: MatchingConfig) -> Tensor:
    """Return [P]: the mean over the vectors that are there (Eq. 6), or SCAN's LogSumExp."""
    if config.aggregate == "mean":
        return (cosines_Pi * keep_Pi).sum(1) / keep_Pi.sum(1)
    scaled_Pi = (config.lse_inverse_temperature * cosines_Pi).masked_fill(~keep_Pi, -torch.inf)
    return scaled_Pi.logsumexp(1) / config.lse_inverse_temperature


def direct_of(x_Pid: Tensor, x_keep: Tensor, y_Pjd: Tensor, y_keep: Tensor, kind: str) -> Tensor:
    """Return ``mean_i cos(x_i, Y)`` [P] of Eq. 5."""
    if kind == "mean_map":
        mean_P1d = (y_Pjd * y_keep[..., None]).sum(1, keepdim=True) / y_keep.sum(1)[:, None, None]
        cosines_Pi = (unit(x_Pid) * unit(mean_P1d)).sum(-1)
    else:
        cosines_Pij = unit(x_Pid) @ unit(y_Pjd).mT * y_keep[:, None, :]
        cosines_Pi = cosines_Pij.sum(2) / y_keep.sum(1)[:, None]
    return (cosines_Pi * x_keep).sum(1) / x_keep.sum(1)


def pair_scores_direct(
    matcher: IterativeMatching, v_Pid: Tensor, w_Pjd: Tensor, v_keep: Tensor | None = None, w_keep: Tensor | None = None
) -> Tensor:
    """Return S [P] of Eq. 7 for image p with text p, differentiable.

    Args:
        matcher: holds the gates, alpha and the knobs.
        v_Pid: image vectors.
        w_Pjd: text vectors.
        v_keep: [P, i] True where an image vector is there; None where all are.
        w_keep: [P, j], the same of the texts.
    """
    config, alpha = matcher.config, matcher.alpha
    v_keep = v_Pid.new_ones(v_Pid.shape[:2], dtype=torch.bool) if v_keep is None else v_keep
    w_keep = w_Pjd.new_ones(w_Pjd.shape[:2], dtype=torch.bool) if w_keep is None else w_keep
    v_Pid, w_Pjd = v_Pid * v_keep[..., None], w_Pjd * w_keep[..., None]
    ways = [(v_Pid, v_keep, w_Pjd, w_keep, matcher.image_memory)] if config.queries != "text" else []
    ways += [(w_Pjd, w_keep, v_Pid, v_keep, matcher.text_memory)] if config.queries != "image" else []
    score_P = torch.zeros_like(v_Pid[:, 0, 0])
    for original, x_keep, context, y_keep, memory in ways:
        x = original
        for step in range(1, matcher.steps + 1):
            a = attend(x, context, y_keep, config)
            operand = original if config.score_operand == "original" else x
            cross_P = together((unit(operand) * unit(a)).sum(-1), x_keep, config)  # (6)
            if config.direct == "none":
                score_P = score_P + cross_P
            else:
                direct_P = direct_of(original, x_keep, context, y_keep, config.direct)
                score_P = score_P + alpha * cross_P + (1 - alpha) * direct_P  # (5, 7)
            if step < matcher.steps:  # the last gate has no effect on the score
                x = refine(x, a, memory, config.renormalise) * x_keep[..., None]  # (3, 4)
    return score_P / (len(ways) * matcher.steps) if config.reduce == "mean" else score_P


def scores_direct(
    matcher: IterativeMatching,
    images: Tensor,
    texts: Tensor,
    v_keep: Tensor | None = None,
    w_keep: Tensor | None = None,
) -> Tensor:
    """Return S [N, M] of every image [N, i, d] with every text [M, j, d], one text at a time. Masks as above."""
    columns = []
    for place, text in enumerate(texts):
        keep = None if w_keep is None else w_keep[place].expand(len(images), -1)
        columns.append(pair_scores_direct(matcher, images, text.expand(len(images), -1, -1), v_keep, keep))
    return torch.stack(columns, dim=1)
