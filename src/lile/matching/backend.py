"""Which code computes the cross terms of all pairs.

Shapes: N images, M texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lile.matching.compiler import native_library
from lile.matching.eager import add_cross
from lile.matching.native import cross_native
from lile.matching.sides import Side

if TYPE_CHECKING:
    from lile.matching.matcher import IterativeMatching


def cross_scores(matcher: IterativeMatching, images: Side, texts: Side) -> Tensor:
    """Return the cross terms [N, M] of Eq. 6, summed over both directions and the K steps, without a graph."""
    library = (
        native_library() if images.vectors.device.type == "cpu" and images.vectors.dtype == torch.float32 else None
    )
    if library is not None:
        return cross_native(library, matcher, images, texts)
    scores_NM = images.vectors.new_zeros(len(images), len(texts))
    config, steps = matcher.config, matcher.steps
    if config.image_asks:
        add_cross(scores_NM, images, texts, matcher.image_memory, steps, config)
    if config.text_asks:
        add_cross(scores_NM.T, texts, images, matcher.text_memory, steps, config)
    return scores_NM
