"""Eq. 1 to 7, line by line: slow, obviously right, the twin that :mod:`lile.models.matching` is compared with.

Shapes: P pairs (image p with text p), m maps, d width; X is the query, Y the context (PAPER.md sections 1 and 4).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lile.models.matching import EPS, IterativeMatching, clipped
from lile.models.memory import GatedMemory


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """Return cos(x, y) over the last axis; a zero vector has cosine 0 with everything."""
    return (x * y).sum(-1) / (x.norm(dim=-1).clamp_min(EPS) * y.norm(dim=-1).clamp_min(EPS))


def attend(x_Pmd: Tensor, y_Pmd: Tensor, inverse_temperature: float, clip: str) -> Tensor:
    """Return the attended context ``a`` [P, m, d] of Eq. 1 and 2."""
    s_Pij = cosine(x_Pmd[:, :, None, :], y_Pmd[:, None, :, :])  # (1)
    kept_Pij = clipped(s_Pij, clip)
    length_P1j = kept_Pij.square().sum(dim=1, keepdim=True).clamp_min(EPS**2).sqrt()
    sbar_Pij = kept_Pij / length_P1j  # (1), over the query axis i, per context j
    alpha_Pij = (inverse_temperature * sbar_Pij).softmax(dim=2)  # (2)
    return alpha_Pij @ y_Pmd  # (2)


def refine(x_Pmd: Tensor, a_Pmd: Tensor, memory: GatedMemory | None, renormalise: bool) -> Tensor:
    """Return the refined query [P, m, d] of Eq. 3 and 4."""
    assert memory is not None, "there is a gate wherever there is a next step"
    both_PmD = torch.cat([x_Pmd, a_Pmd], dim=-1)
    g, o = memory.gate(both_PmD).sigmoid(), memory.update(both_PmD).tanh()
    refined = g * x_Pmd + (1 - g) * o
    return refined / refined.norm(dim=-1, keepdim=True).clamp_min(EPS) if renormalise else refined


def direct_term(v_Pmd: Tensor, w_Pmd: Tensor, kind: str) -> Tensor:
    """Return ``mean_i cos(v_i, T) + mean_i cos(w_i, I)`` [P] of Eq. 5."""
    if kind == "mean_map":
        text_P1d, image_P1d = w_Pmd.mean(dim=1, keepdim=True), v_Pmd.mean(dim=1, keepdim=True)
        return cosine(v_Pmd, text_P1d).mean(dim=1) + cosine(w_Pmd, image_P1d).mean(dim=1)
    return 2 * cosine(v_Pmd[:, :, None, :], w_Pmd[:, None, :, :]).mean(dim=(1, 2))


def pair_scores_direct(matcher: IterativeMatching, v_Pmd: Tensor, w_Pmd: Tensor) -> Tensor:
    """Return S [P] of Eq. 7 for image p with text p.

    Args:
        matcher: holds the gates, alpha and the knobs.
        v_Pmd: image maps [P, m, d].
        w_Pmd: text maps [P, m, d].
    """
    knobs = matcher.config
    queries = {"image": v_Pmd, "text": w_Pmd}  # refined step by step
    score_P = torch.zeros_like(v_Pmd[:, 0, 0])
    for step in range(1, matcher.steps + 1):
        cross_P = torch.zeros_like(score_P)
        for side, original, context, memory in (
            ("image", v_Pmd, w_Pmd, matcher.image_memory),
            ("text", w_Pmd, v_Pmd, matcher.text_memory),
        ):
            x = queries[side]
            a = attend(x, context, knobs.inverse_temperature, knobs.clip)
            operand = original if knobs.score_operand == "original" else x
            cross_P = cross_P + cosine(operand, a).mean(dim=1)  # (6)
            if step < matcher.steps:  # the last gate has no effect on the score
                queries[side] = refine(x, a, memory, knobs.renormalise)  # (3, 4)
        if knobs.direct == "none":
            score_P = score_P + cross_P
        else:
            alpha = matcher.alpha
            score_P = score_P + alpha * cross_P + (1 - alpha) * direct_term(v_Pmd, w_Pmd, knobs.direct)  # (5)
    return score_P / (2 * matcher.steps) if knobs.reduce == "mean" else score_P  # (7)


def scores_direct(matcher: IterativeMatching, images_Nmd: Tensor, texts_Mmd: Tensor) -> Tensor:
    """Return S [N, M] of every image with every text, one text at a time."""
    columns = [pair_scores_direct(matcher, images_Nmd, text.expand(len(images_Nmd), -1, -1)) for text in texts_Mmd]
    return torch.stack(columns, dim=1)
