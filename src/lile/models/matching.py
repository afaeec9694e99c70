"""Scores of image-text pairs (Eq. 1 to 7) without the d x d work per pair (PAPER.md section 8); exact.

Shapes: N images, M texts, P pairs or queries at a time, m maps, d width. ``x`` are query maps, ``y`` context maps.
The readable form of the same equations is :mod:`lile.models.matching_direct`; tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lile.models.config import MatchingConfig
from lile.models.memory import GatedMemory

EPS = 1e-8  # a length below this counts as zero, as in the published codes
TILE_FLOATS = 1 << 17  # floats of one [tile, m, d] tensor: 512 KiB, so that a tile stays in a core's cache
CHUNK_FLOATS = 1 << 22  # the same for pairs that are differentiated, where autograd keeps about ten such tensors


def clipped(cosines: Tensor, clip: str) -> Tensor:
    """Return what Eq. 1 keeps of the cosines: ``relu`` as printed, ``leaky_relu_0.1`` as IMRAM's code, ``none``."""
    if clip == "relu":
        return cosines.relu()
    return functional.leaky_relu(cosines, 0.1) if clip == "leaky_relu_0.1" else cosines


def length(vectors: Tensor) -> Tensor:
    """Return the length over the last axis, at least ``EPS``; its gradient at zero is zero, not infinite."""
    return vectors.square().sum(-1).clamp_min(EPS**2).sqrt()


@dataclass(frozen=True)
class Side:
    """What is computed once per item, whatever it is paired with. Leading axes: items, or none for one item."""

    maps: Tensor
    """[..., m, d]"""
    lengths: Tensor
    """[..., m]"""
    gram: Tensor
    """[..., m, m]: inner products of the item's own maps, for the length of what is attended."""
    query_half: Tensor | None
    """[..., m, 2d]: the gate's half for step 1, where the query is still the item's own (None at K = 1)."""
    context_half: Tensor | None
    """[..., m, 2d]: the gate's half for the attended vector, before attention (None at K = 1)."""

    def __getitem__(self, index: Any) -> Side:
        def at(value: Any) -> Any:
            return None if value is None else value[index]

        return Side(*(at(getattr(self, f.name)) for f in fields(self)))


class IterativeMatching(nn.Module):
    """The matcher of LILE: both directions, K steps, each direction with its own gated memory.

    Args:
        width: d.
        steps: K.
        config: the knobs of PAPER.md section 4.
    """

    def __init__(self, width: int, steps: int, config: MatchingConfig) -> None:
        super().__init__()
        self.width, self.steps, self.config = width, steps, config
        # The last gate has no effect on the score: at K = 1 there is none.
        self.image_memory = GatedMemory(width) if steps > 1 else None
        self.text_memory = GatedMemory(width) if steps > 1 else None
        if config.direct != "none":
            self.alpha_logit = nn.Parameter(torch.logit(torch.tensor(config.alpha_init)))

    @property
    def alpha(self) -> Tensor:
        """The weight of the cross terms in Eq. 5, a scalar in (0, 1); one where there is no direct term."""
        return torch.ones(()) if self.config.direct == "none" else self.alpha_logit.sigmoid()

    def scores(self, images_Nmd: Tensor, texts_Mmd: Tensor) -> Tensor:
        """Return S [N, M] of every image with every text, in float32 (float64 for float64 maps).

        Differentiable: the forward pass keeps no per-pair tensor, and the backward pass computes again only those
        pairs whose score has a gradient (with the hardest negatives, at most three per item), which is exact.

        Args:
            images_Nmd: image maps [N, m, d].
            texts_Mmd: text maps [M, m, d]; m may differ between the sides.
        """
        with torch.autocast(images_Nmd.device.type, enabled=False):  # bfloat16 cosines are too coarse to rank by
            maps = [m if m.dtype == torch.float64 else m.float() for m in (images_Nmd, texts_Mmd)]
            return _AllPairs.apply(self, *maps, *self.parameters())

    def pair_scores(self, images_Pmd: Tensor, texts_Pmd: Tensor) -> Tensor:
        """Return S [P] of image p with text p, differentiable through every tensor; for P that fits in memory."""
        images, texts = self._sides(images_Pmd, texts_Pmd)
        cross_P = self._cross(images, texts, self.image_memory) + self._cross(texts, images, self.text_memory)
        left_PD, right_PD = self._direct_factors(images_Pmd, texts_Pmd)
        return self._total(cross_P, (left_PD * right_PD).sum(-1))

    def _sides(self, images: Tensor, texts: Tensor) -> tuple[Side, Side]:
        def side(maps: Tensor, own: GatedMemory | None, other: GatedMemory | None) -> Side:
            query_half = own.query_half(maps) if own else None
            return Side(maps, length(maps), maps @ maps.mT, query_half, other.context_half(maps) if other else None)

        image_memory, text_memory = self.image_memory, self.text_memory
        return side(images, image_memory, text_memory), side(texts, text_memory, image_memory)

    def _attention(self, gram_Pij: Tensor, x_lengths: Tensor, y_lengths: Tensor) -> Tensor:
        """Eq. 1 and 2: alpha [P, m, m] from inner products and lengths."""
        s_Pij = gram_Pij / (x_lengths[..., :, None] * y_lengths[..., None, :])
        kept_Pij = clipped(s_Pij, self.config.clip)
        sbar_Pij = kept_Pij / length(kept_Pij.mT)[..., None, :]  # over the query axis i, per context j
        return (self.config.inverse_temperature * sbar_Pij).softmax(dim=-1)

    def _cross(self, query: Side, context: Side, memory: GatedMemory | None) -> Tensor:
        """Return ``sum_k mean_i cos(v_i, a_i^k)`` [P] (Eq. 6 and 7) for P queries.

        ``context`` holds P items, or one item without a leading axis that serves all queries.
        """
        x, x_lengths, pre = query.maps, query.lengths, query.query_half
        gram = operand_gram = x @ context.maps.mT
        total = torch.zeros_like(x_lengths[..., 0])
        for step in range(1, self.steps + 1):
            alpha = self._attention(gram, x_lengths, context.lengths)
            if self.config.score_operand == "refined" or step == 1:
                operand_gram, operand_lengths = gram, x_lengths
            inner = (alpha * operand_gram).sum(-1)  # <v_i, a_i> without forming a_i
            attended = ((alpha @ context.gram) * alpha).sum(-1).clamp_min(EPS**2).sqrt()  # |a_i|
            total = total + (inner / (operand_lengths * attended)).mean(-1)
            if step == self.steps:
                break
            assert memory is not None
            assert context.context_half is not None
            assert pre is not None
            x = memory.blend(x, pre + alpha @ context.context_half)  # Eq. 3: attention commutes with the gate's half
            if self.config.renormalise:
                x = x / length(x)[..., None]
            x_lengths, gram = length(x), x @ context.maps.mT
            pre = memory.query_half(x) if step + 1 < self.steps else None
        return total

    def _direct_factors(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Two vectors per item whose inner product is the direct term of Eq. 5: [..., D] for images and for texts."""
        v, w = ((maps / length(maps)[..., None]).mean(-2) for maps in (images, texts))
        if self.config.direct != "mean_map":
            return 2 * v, w
        image, text = (maps.mean(-2) / length(maps.mean(-2))[..., None] for maps in (images, texts))
        return torch.cat([v, image], -1), torch.cat([text, w], -1)

    def _total(self, cross: Tensor, direct: Tensor) -> Tensor:
        """Eq. 5 and 7 from the sum of the cross terms over K and the direct term, which is the same at every step."""
        total = cross
        if self.config.direct != "none":
            total = self.alpha * cross + (1 - self.alpha) * self.steps * direct
        return total / (2 * self.steps) if self.config.reduce == "mean" else total

    def all_pairs(self, images_Nmd: Tensor, texts_Mmd: Tensor) -> Tensor:
        """Return S [N, M] without a graph; called by :meth:`scores`, which has one.

        One context item at a time against tiles of queries that stay in cache: several times faster on a CPU than
        one large batched product.
        """
        images, texts = self._sides(images_Nmd, texts_Mmd)
        cross_NM = images_Nmd.new_empty(len(images_Nmd), len(texts_Mmd))
        for tile in _tiles(len(images_Nmd), images_Nmd[0].numel(), TILE_FLOATS):
            queries = images[tile]
            for j in range(len(texts_Mmd)):
                cross_NM[tile, j] = self._cross(queries, texts[j], self.image_memory)
        for tile in _tiles(len(texts_Mmd), texts_Mmd[0].numel(), TILE_FLOATS):
            queries = texts[tile]
            for i in range(len(images_Nmd)):
                cross_NM[i, tile] += self._cross(queries, images[i], self.text_memory)
        left_ND, right_MD = self._direct_factors(images_Nmd, texts_Mmd)
        return self._total(cross_NM, left_ND @ right_MD.T)


def _tiles(count: int, floats_each: int, budget: int) -> Iterator[slice]:
    size = max(1, budget // max(1, floats_each))
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


class _AllPairs(torch.autograd.Function):
    """S [N, M]; its backward pass differentiates ``pair_scores`` at the pairs that have a gradient, in chunks."""

    @staticmethod
    def forward(ctx: Any, matcher: IterativeMatching, images: Tensor, texts: Tensor, *parameters: Tensor) -> Tensor:
        ctx.matcher = matcher
        ctx.save_for_backward(images, texts)
        return matcher.all_pairs(images, texts)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad_NM,) = grad_outputs
        images, texts = (t.detach().requires_grad_() for t in ctx.saved_tensors)
        leaves: Sequence[Tensor] = [images, texts, *ctx.matcher.parameters()]
        sums = [torch.zeros_like(leaf) for leaf in leaves]
        rows, columns = grad_NM.nonzero(as_tuple=True)
        for chunk in _tiles(len(rows), images[0].numel(), CHUNK_FLOATS):
            i, j = rows[chunk], columns[chunk]
            with torch.enable_grad():
                scores_P = ctx.matcher.pair_scores(images[i], texts[j])
            parts = torch.autograd.grad(scores_P, leaves, grad_NM[i, j])
            for total, part in zip(sums, parts, strict=True):
                total += part
        return (None, *sums)
