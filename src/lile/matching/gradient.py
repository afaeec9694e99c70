"""S of all pairs with its gradient: no per-pair tensor is kept, and only pairs that have a gradient are differentiated.

The backward pass computes again what it needs on the items' sides, in pieces that fit in memory; what was summed there
then goes once through what is computed per item. Both are exact. With the hardest negatives at most three pairs per
item of the batch carry a gradient.

Shapes: N images, M texts, Q queries, C contexts, P pairs of a piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lile.matching.eager import tiles
from lile.matching.items import Items
from lile.matching.memory import GatedMemory
from lile.matching.sides import Side, direct_term
from lile.matching.steps import cross_term

if TYPE_CHECKING:
    from lile.matching.matcher import IterativeMatching

CHUNK_FLOATS = 1 << 21  # floats of one [piece, r, d] tensor; autograd keeps about fifteen such tensors
DENSE = 0.25  # share of pairs with a gradient above which all queries are taken against one context at a time

Index = slice | int | Tensor


class AllPairs(torch.autograd.Function):
    """S [N, M] of :meth:`IterativeMatching.all_pairs`, with its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        matcher: IterativeMatching,
        image_keep: Tensor | None,
        text_keep: Tensor | None,
        images: Tensor,
        texts: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        """Return S [N, M]; ``parameters`` are the matcher's own, named so that autograd follows them."""
        del parameters
        ctx.matcher, ctx.keeps = matcher, (image_keep, text_keep)
        ctx.save_for_backward(images, texts)
        return matcher.all_pairs(Items(images, image_keep), Items(texts, text_keep))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients by both sides' vectors and by the parameters."""
        (grad_NM,) = grad_outputs
        vectors = [t.detach().requires_grad_() for t in ctx.saved_tensors]
        images, texts = (Items(t, keep) for t, keep in zip(vectors, ctx.keeps, strict=True))
        with torch.enable_grad(), torch.autocast(grad_NM.device.type, enabled=False):
            return (None, None, None, *gradients(ctx.matcher, images, texts, grad_NM))


def gradients(matcher: IterativeMatching, images: Items, texts: Items, grad_NM: Tensor) -> list[Tensor | None]:
    """Return the gradients of ``sum(grad_NM * S)`` by images, texts and the matcher's parameters, in this order.

    Args:
        matcher: holds the gates, alpha and the knobs.
        images: N items whose vectors require a gradient.
        texts: M items, likewise.
        grad_NM: the gradient by S.
    """
    sides = matcher.sides(images, texts)
    sums = [_Sums(side) for side in sides]
    parameters = list(matcher.parameters())
    own = [torch.zeros_like(p) for p in parameters]
    ways = [(0, 1, matcher.image_memory, grad_NM)] if matcher.config.image_asks else []
    ways += [(1, 0, matcher.text_memory, grad_NM.T)] if matcher.config.text_asks else []
    for asks, asked, memory, grad_QC in ways:
        query, context = sides[asks].map(Tensor.detach), sides[asked].map(Tensor.detach)
        for q, c, grad_P in _pieces(grad_QC, query, context):
            parts = _piece(matcher, query[q], context[c], memory, grad_P)
            sums[asks].add(q, parts[0])
            sums[asked].add(c, parts[1])
            for total, part in zip(own, parts[2], strict=True):
                total += 0 if part is None else part
    outputs = [*sums[0].outputs, *sums[1].outputs]
    grads = [*sums[0].totals, *sums[1].totals]
    if matcher.config.direct != "none":  # linear in S: one matrix product for all pairs
        left_ND, right_MD = direct_term(images, texts, matcher.config.direct, matcher.config.queries)
        outputs.append(matcher.weights()[1] * (left_ND @ right_MD.T))
        grads.append(grad_NM)
    leaves = [images.vectors, texts.vectors, *parameters]
    through = torch.autograd.grad(outputs, leaves, grads, allow_unused=True)
    return [_plus(a, b) for a, b in zip(through, [None, None, *own], strict=True)]


class _Sums:
    """Gradients by the tensors of a side, summed over pieces."""

    def __init__(self, side: Side) -> None:
        self.outputs = _differentiable(side)
        self.totals = [torch.zeros_like(t) for t in self.outputs]

    def add(self, index: Index, parts: Sequence[Tensor | None]) -> None:
        for total, part in zip(self.totals, parts, strict=True):
            if part is None:
                continue
            if isinstance(index, Tensor):
                total.index_add_(0, index, part)  # an item may be in several pairs
            else:
                total[index] += part


def _differentiable(side: Side) -> list[Tensor]:
    values = (side.vectors, side.lengths, side.gram, side.query_half, side.context_half)
    return [value for value in values if value is not None]


def _pieces(grad_QC: Tensor, query: Side, context: Side) -> Iterator[tuple[Index, Index, Tensor]]:
    """Yield (queries, contexts, their gradient): pairs of single items, or many queries against one context."""
    floats = max(query.vectors[0].numel(), context.vectors[0].numel())
    rows_P, columns_P = grad_QC.nonzero(as_tuple=True)
    if len(rows_P) <= DENSE * grad_QC.numel():
        for chunk in tiles(len(rows_P), floats, CHUNK_FLOATS):
            i, j = rows_P[chunk], columns_P[chunk]
            yield i, j, grad_QC[i, j]
        return
    for tile in tiles(len(query), floats, CHUNK_FLOATS):
        for c in range(len(context)):
            yield tile, c, grad_QC[tile, c]


def _piece(
    matcher: IterativeMatching, query: Side, context: Side, memory: GatedMemory | None, grad_P: Tensor
) -> list[Sequence[Tensor | None]]:
    """Return the gradients by the query's tensors, by the context's, and by the matcher's parameters."""
    query, context = query.map(_leaf), context.map(_leaf)
    weighted_P = matcher.weights()[0] * cross_term(query, context, memory, matcher.steps, matcher.config)
    groups: list[list[Tensor]] = [_differentiable(query), _differentiable(context), list(matcher.parameters())]
    leaves = [leaf for group in groups for leaf in group]
    if not weighted_P.requires_grad:
        return [[None] * len(group) for group in groups]
    found = iter(torch.autograd.grad(weighted_P, leaves, grad_P, allow_unused=True))
    return [[next(found) for _ in group] for group in groups]


def _leaf(value: Tensor) -> Tensor:
    return value.detach().requires_grad_() if value.is_floating_point() else value


def _plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b
