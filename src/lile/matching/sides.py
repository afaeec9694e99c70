"""What is computed once per item, whatever it is paired with (PAPER.md section 8).

Shapes: ``...`` is any leading shape (items, or none for one item), r vectors of an item, d width, D of a direct factor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor

from lile.matching.items import Items
from lile.matching.memory import GatedMemory

SideName = Literal["image", "text"]

EPS = 1e-8  # a length below this counts as zero, as in the published codes


def length(vectors: Tensor) -> Tensor:
    """Return the length over the last axis, at least ``EPS``; its gradient at zero is zero, not infinite."""
    return vectors.square().sum(-1).clamp_min(EPS**2).sqrt()


@dataclass(frozen=True)
class Side:
    """One side's items, ready to be queries and contexts."""

    vectors: Tensor
    """[..., r, d]"""
    keep: Tensor | None
    """[..., r] True where a vector is there, or None for all."""
    lengths: Tensor
    """[..., r]"""
    gram: Tensor
    """[..., r, r] in float64: inner products of the item's own vectors, for the length of what is attended. In float32
    that length would be the root of a difference of large numbers wherever the attended vectors nearly cancel."""
    query_half: Tensor | None
    """[..., r, 2d]: the gate's half for step 1, where the query is still the item's own (None at K = 1)."""
    context_half: Tensor | None
    """[..., r, 2d]: the gate's half for the attended vector, before attention (None at K = 1)."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Side:
        """Return the side with ``change`` done to each tensor."""
        values = (getattr(self, f.name) for f in fields(self))
        return Side(*(None if value is None else change(value) for value in values))  # type: ignore[arg-type]

    def __getitem__(self, index: Any) -> Side:
        return self.map(lambda value: value[index])

    def __len__(self) -> int:
        return len(self.vectors)


def side_of(items: Items, own: GatedMemory | None, other: GatedMemory | None) -> Side:
    """Return the items' side.

    Args:
        items: N items.
        own: the gate of the direction in which these items ask; None where there is none.
        other: the gate of the direction in which they are the context.
    """
    vectors = items.vectors
    wide = vectors.double()
    return Side(
        vectors=vectors,
        keep=items.keep,
        lengths=length(vectors),
        gram=wide @ wide.mT,
        query_half=own.query_half(vectors) if own else None,
        context_half=other.context_half(vectors) if other else None,
    )


def mean_over(values: Tensor, keep: Tensor | None) -> Tensor:
    """Return the mean [...] of values [..., r] over the vectors that are there."""
    if keep is None:
        return values.mean(-1)
    return (values * keep).sum(-1) / keep.sum(-1)


def direct_factors(items: Items, kind: str) -> tuple[Tensor, Tensor]:
    """Return per item the two vectors [N, d] from which the direct term of Eq. 5 is made.

    ``mean_i cos(x_i, Y)`` is the inner product of x's mean unit vector and Y's unit mean, so the direct term of all
    pairs is one matrix product (PAPER.md section 8).

    Returns:
        what stands for the item where it asks, and where it is asked.
    """
    vectors, keep = items
    counts = vectors.shape[-2] if keep is None else keep.sum(-1)[..., None]
    unit_mean = (vectors / length(vectors)[..., None]).sum(-2) / counts
    if kind == "mean_cosine":
        return unit_mean, unit_mean
    mean = vectors.sum(-2) / counts
    return unit_mean, mean / length(mean)[..., None]


def direct_term(images: Items, texts: Items, kind: str, queries: str) -> tuple[Tensor, Tensor]:
    """Return two matrices [N, D], [M, D]; the inner products of their rows are the direct term of Eq. 5."""
    (v, image), (w, text) = direct_factors(images, kind), direct_factors(texts, kind)
    left = {"both": [v, image], "image": [v], "text": [image]}[queries]
    right = {"both": [text, w], "image": [text], "text": [w]}[queries]
    return torch.cat(left, -1), torch.cat(right, -1)


def direct_product(images: Items, texts: Items, kind: str, queries: str) -> Tensor:
    """Return the direct term of Eq. 5 of all pairs, [N, M] in float64.

    In float64 its last bit as float32 does not depend on how a product of this size is cut into blocks, and alpha's
    gradient keeps digits where it is the small difference of two sums because cross and direct term nearly agree.
    """
    left_ND, right_MD = (factor.double() for factor in direct_term(images, texts, kind, queries))
    return left_ND @ right_MD.T
