"""S of all pairs with its gradient: no per-pair tensor is kept, and only pairs that have a gradient are differentiated.

The backward pass computes again what it needs from the items' sides, compiled at K = 1 and 2, else with autograd in
pieces that fit in memory; what was summed there then goes once through what is computed per item. Both are exact. With
the hardest negatives at most three pairs per item of the batch carry a gradient.

Shapes: N images, M texts, Q queries, C contexts, P pairs of a piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lile.errors import InputError
from lile.matching.backend import library_for
from lile.matching.eager import tiles
from lile.matching.items import Items
from lile.matching.memory import GatedMemory
from lile.matching.native import cross_gradient_native
from lile.matching.sides import Side, direct_product
from lile.matching.steps import cross_term

if TYPE_CHECKING:
    from lile.matching.matcher import IterativeMatching

CHUNK_FLOATS = 1 << 21  # floats of one [piece, r, d] tensor; autograd keeps about fifteen such tensors
DENSE = 0.25  # share of pairs with a gradient above which all queries are taken against one context at a time
COMPILED_STEPS = 2  # up to this K no gate is applied to a refined query, so only the sides have gradients

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
        """Return S [N, M]; ``parameters`` are the matcher's own, named so that autograd follows them.

        They are saved although the backward pass reads the matcher's: so autograd notices if they were changed since.
        """
        ctx.matcher, ctx.keeps = matcher, (image_keep, text_keep)
        scores_NM, cross_NM = matcher.all_pairs(Items(images, image_keep), Items(texts, text_keep))
        ctx.save_for_backward(images, texts, cross_NM, *parameters)
        return scores_NM

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients by both sides' vectors and by the parameters.

        Raises:
            InputError: a second derivative is asked for.
        """
        if torch.is_grad_enabled():  # what is returned here has no graph: a second derivative would be taken for zero
            raise InputError(
                "scores: create_graph=True, but only first derivatives are there; lile.matching.direct has all"
            )
        (grad_NM,) = grad_outputs
        images, texts, cross_NM, *_ = ctx.saved_tensors
        leaves = [t.detach().requires_grad_() for t in (images, texts)]
        v, w = (Items(t, keep) for t, keep in zip(leaves, ctx.keeps, strict=True))
        with torch.enable_grad(), torch.autocast(grad_NM.device.type, enabled=False):
            return (None, None, None, *gradients(ctx.matcher, v, w, cross_NM, grad_NM))


def gradients(
    matcher: IterativeMatching, images: Items, texts: Items, cross_NM: Tensor, grad_NM: Tensor
) -> list[Tensor | None]:
    """Return the gradients of ``sum(grad_NM * S)`` by images, texts and the matcher's parameters, in this order.

    Args:
        matcher: holds the gates, alpha and the knobs.
        images: N items whose vectors require a gradient.
        texts: M items, likewise.
        cross_NM: the cross terms, from the forward pass.
        grad_NM: the gradient by S.
    """
    cross_weight, direct_weight = matcher.weights()
    sides = matcher.sides(images, texts)
    detached = [side.map(Tensor.detach) for side in sides]
    weight_NM = (grad_NM * cross_weight).detach()
    by_images, by_texts, own = _cross_gradients(matcher, detached[0], detached[1], weight_NM)
    outputs, sums = [*_differentiable(sides[0]), *_differentiable(sides[1])], [*by_images, *by_texts]
    if matcher.config.direct != "none":  # S is linear in both terms: one matrix product for all pairs
        direct_NM = direct_product(images, texts, matcher.config.direct, matcher.config.queries)
        outputs.append(cross_weight * cross_NM.double() + direct_weight * direct_NM)
        sums.append(grad_NM.double())
    leaves = [images.vectors, texts.vectors, *matcher.parameters()]
    through = _by(leaves, outputs, sums)
    return [_plus(a, b) for a, b in zip(through, [None, None, *own], strict=True)]


def _cross_gradients(
    matcher: IterativeMatching, images: Side, texts: Side, weight_NM: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor | None]]:
    """Return the gradients of ``sum(weight_NM * cross terms)`` by both sides' tensors and by the parameters."""
    library = library_for(images)
    if library is not None and matcher.steps <= COMPILED_STEPS:
        by_images, by_texts = cross_gradient_native(library, matcher, images, texts, weight_NM)
        return by_images, by_texts, [None for _ in matcher.parameters()]
    sides, sums = (images, texts), (_Sums(images), _Sums(texts))
    own = [torch.zeros_like(p) for p in matcher.parameters()]
    ways = [(0, 1, matcher.image_memory, weight_NM)] if matcher.config.image_asks else []
    ways += [(1, 0, matcher.text_memory, weight_NM.T)] if matcher.config.text_asks else []
    for asks, asked, memory, weight_QC in ways:
        for q, c, weight_P in _pieces(weight_QC, sides[asks], sides[asked]):
            parts = _piece(matcher, sides[asks][q], sides[asked][c], memory, weight_P)
            sums[asks].add(q, parts[0])
            sums[asked].add(c, parts[1])
            for total, part in zip(own, parts[2], strict=True):
                total += 0 if part is None else part
    return sums[0].totals, sums[1].totals, list(own)


class _Sums:
    """Gradients by the tensors of a side, summed over pieces."""

    def __init__(self, side: Side) -> None:
        self.totals = [torch.zeros_like(t) for t in _differentiable(side)]

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


def _pieces(weight_QC: Tensor, query: Side, context: Side) -> Iterator[tuple[Index, Index, Tensor]]:
    """Yield (queries, contexts, their weights): pairs of single items, or many queries against one context."""
    floats = max(query.vectors[0].numel(), context.vectors[0].numel())
    rows_P, columns_P = weight_QC.nonzero(as_tuple=True)
    if len(rows_P) <= DENSE * weight_QC.numel():
        for chunk in tiles(len(rows_P), floats, CHUNK_FLOATS):
            i, j = rows_P[chunk], columns_P[chunk]
            yield i, j, weight_QC[i, j]
        return
    for tile in tiles(len(query), floats, CHUNK_FLOATS):
        for c in range(len(context)):
            yield tile, c, weight_QC[tile, c]


def _piece(
    matcher: IterativeMatching, query: Side, context: Side, memory: GatedMemory | None, weight_P: Tensor
) -> list[Sequence[Tensor | None]]:
    """Return the gradients by the query's tensors, by the context's, and by the matcher's parameters."""
    query, context = query.map(_leaf), context.map(_leaf)
    cross_P = cross_term(query, context, memory, matcher.steps, matcher.config)
    groups: list[list[Tensor]] = [_differentiable(query), _differentiable(context), list(matcher.parameters())]
    leaves = [leaf for group in groups for leaf in group]
    found = iter(_by(leaves, [cross_P], [weight_P]))
    return [[next(found) for _ in group] for group in groups]


def _by(leaves: Sequence[Tensor], outputs: list[Tensor], sums: list[Tensor]) -> list[Tensor | None]:
    """Return the gradients of ``outputs``, weighted by ``sums``, by the leaves; None for frozen and unused ones."""
    asked = [leaf for leaf in leaves if leaf.requires_grad]
    found = iter(torch.autograd.grad(outputs, asked, sums, allow_unused=True))
    return [next(found) if leaf.requires_grad else None for leaf in leaves]


def _leaf(value: Tensor) -> Tensor:
    return value.detach().requires_grad_() if value.is_floating_point() else value


def _plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b
