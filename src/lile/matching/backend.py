"""Which code computes the cross terms of all pairs.

Shapes: N images, M texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from lile.matching.eager import add_cross
from lile.matching.sides import Side

if TYPE_CHECKING:
    from lile.matching.matcher import IterativeMatching


def cross_scores(matcher: IterativeMatching, images: Side, texts: Side) -> Tensor:
    """Return the cross terms [N, M] of Eq. 6, summed over both directions and the K steps, without a graph."""
    scores_NM = images.vectors.new_zeros(len(images), len(texts))
    config, steps = matcher.config, matcher.steps
    if config.image_asks:
        add_cross(scores_NM, images, texts, matcher.image_memory, steps, config)
    if config.text_asks:
        add_cross(scores_NM.T, texts, images, matcher.text_memory, steps, config)
    return scores_NM
