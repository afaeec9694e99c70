"""The knobs of what is minimised: Eq. 8 and the further terms of PVSE and VSRN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lile.errors import InputError
from lile.values import at_least, one_of

Negatives = Literal["hardest", "sum", "mean"]
Reduction = Literal["mean", "sum"]

TERMS = ("diversity", "discrepancy", "caption")
"""Names of the further terms; each is the weight of its term, 0 leaves it out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """Eq. 8 (PAPER.md section 5), and weights of further terms."""

    margin: float = 0.2
    """Delta of Eq. 8, against the score as ``matching.reduce`` leaves it."""
    negatives: Negatives = "hardest"
    """Per anchor: its hardest negative, the sum over all, or the mean over all."""
    reduction: Reduction = "mean"
    """Over the pairs of a batch. The published codes sum, which matters to the clipping of gradients."""
    warmup_steps: int = 0
    """Optimiser steps at the start that take the mean over all negatives: from random weights the hardest negative
    alone can pull everything into one point, where the loss stays at twice the margin (VSE-infinity's remedy)."""
    diversity: float = 0.0
    """PVSE's: how alike an item's maps are."""
    discrepancy: float = 0.0
    """PVSE's: the maximum mean discrepancy between image vectors and text vectors of the batch."""
    caption: float = 0.0
    """VSRN's: the negative log-likelihood of a caption given its image."""

    def __post_init__(self) -> None:
        one_of("loss.negatives", self.negatives, Negatives)
        one_of("loss.reduction", self.reduction, Reduction)
        at_least("loss.warmup_steps", self.warmup_steps, 0)
        if not self.margin > 0:
            raise InputError(f"loss.margin={self.margin} must be positive")
        for name in TERMS:
            if not getattr(self, name) >= 0:
                raise InputError(f"loss.{name}={getattr(self, name)} must not be negative")
