"""Which code computes the cross terms of all pairs.

Shapes: N images, M texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lile.matching import fused
from lile.matching.compiler import Library, native_library
from lile.matching.eager import add_cross
from lile.matching.native import cross_native
from lile.matching.sides import Side

if TYPE_CHECKING:
    from lile.matching.matcher import IterativeMatching


def cross_scores(matcher: IterativeMatching, images: Side, texts: Side) -> Tensor:
    """Return the cross terms [N, M] of Eq. 6, summed over both directions and the K steps, without a graph."""
    library = library_for(images)
    if library is not None:
        return cross_native(library, matcher, images, texts)
    if fused.usable(matcher, images, texts):
        return fused.cross_scores_fused(matcher, images, texts, matcher.precision)
    scores_NM = images.vectors.new_zeros(len(images), len(texts))
    config, steps = matcher.config, matcher.steps
    if config.image_asks:
        add_cross(scores_NM, images, texts, matcher.image_memory, steps, config)
    if config.text_asks:
        add_cross(scores_NM.T, texts, images, matcher.text_memory, steps, config)
    return scores_NM


def library_for(side: Side) -> Library | None:
    """Return the compiled engine where it computes such items: float32 on the CPU, and a compiler works here."""
    vectors = side.vectors
    return native_library() if vectors.device.type == "cpu" and vectors.dtype == torch.float32 else None
