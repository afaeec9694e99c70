"""No score of an item can exceed this: what makes a search without scoring all provably exact.

What is attended is a convex combination of the context's vectors, whatever the attention says. If all of them lie
within an angle theta < 90 degrees of an axis, so does it: a circular cone is convex. A vector x at an angle phi from
the axis then has a cosine of at most ``cos(phi - theta)`` with it, and of at most 1 where phi <= theta. As a function
of ``t = cos(phi)`` this is concave, so the mean over x's item is at most its value at the mean of t; and with the
context's mean as axis, that mean is the direct term, which is known for all pairs at once. One matrix product so bounds
every score from above. docs/engine.md has the derivation and what it saves.

Shapes: N items, Q queries, A items of an archive, r vectors of an item, D of a direct factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lile.matching.config import MatchingConfig
from lile.matching.eager import tiles
from lile.matching.items import Items

WIDEST = 0.1  # cosine of the widest half angle used: beyond it rounding grows by 1 / cos(theta), and nothing is gained
SHORTEST = 1e-4  # a vector shorter than this may be attended to a length that counts as zero, where no angle holds
ROUNDING = 2e-5  # per cosine: float32 scores were seen to be off by less than 1e-6; bfloat16 products are off by more
TILE_FLOATS = 1 << 22


class Cones(NamedTuple):
    """Per item, the cone around the axis its direct factor points along."""

    lengths: Tensor
    """[N] float64: length of the direct factor."""
    cosines: Tensor
    """[N] float64: cosine of the half angle; 0 where there is no cone narrow enough, which bounds nothing."""


def cones_of(items: Items, asked_ND: Tensor) -> Cones:
    """Return the cone of each item around its factor ``asked_ND`` (where it is asked: a mean of its vectors)."""
    lengths_N = asked_ND.double().norm(dim=-1)
    cosines_N = torch.empty_like(lengths_N)
    for tile in tiles(len(items.vectors), items.vectors[:1].numel(), TILE_FLOATS):
        wide_Nrd, axis_ND = items.vectors[tile].double(), asked_ND[tile].double()
        norms_Nr = wide_Nrd.norm(dim=-1)
        inner_Nr = (wide_Nrd @ axis_ND[..., None])[..., 0]
        cosines_Nr = inner_Nr / (norms_Nr * lengths_N[tile, None]).clamp_min(1e-300)
        cosines_Nr = cosines_Nr.masked_fill(norms_Nr < SHORTEST, 0.0)
        if items.keep is not None:
            cosines_Nr = cosines_Nr.masked_fill(~items.keep[tile], 1.0)
        cosines_N[tile] = cosines_Nr.amin(dim=-1)
    usable_N = (cosines_N >= WIDEST) & (lengths_N >= SHORTEST)
    return Cones(lengths_N, torch.where(usable_N, cosines_N, 0.0).clamp_max(1.0))


def largest_mean_cosine(direct_QA: Tensor, lengths: Tensor, cosines: Tensor) -> Tensor:
    """Return [Q, A] float64: the most that ``mean_i cos(x_i, a_i)`` can be for any attention.

    Args:
        direct_QA: inner products of what stands for x where it asks with the context's factor.
        lengths: of the context's :class:`Cones`, [A] or [Q, 1].
        cosines: likewise.
    """
    t_QA = (direct_QA.double() / lengths.clamp_min(SHORTEST)).clamp(-1.0, 1.0)
    sines = (1 - cosines.square()).clamp_min(0.0).sqrt()
    turned_QA = t_QA * cosines + (1 - t_QA.square()).sqrt() * sines  # cos(phi - theta)
    return turned_QA.masked_fill((t_QA >= cosines) | (cosines <= 0), 1.0)


class Way(NamedTuple):
    """One direction: who asks whom, and the direct term of all pairs."""

    direct_QA: Tensor
    """The direction's part of the direct term."""
    context: Cones
    """Of the items that are asked, shaped [A], or [Q, 1] where the archive's items ask."""
    counts: Tensor
    """Vectors of the items that ask, shaped [Q, 1], or [A] where the archive's items ask."""


def upper_bound(ways: Sequence[Way], weights: tuple[float, float], steps: int, config: MatchingConfig) -> Tensor:
    """Return [Q, A] float64, at least S of every pair as float32 computes it.

    Only the mean of cosines with the original vectors is bounded by the cone. The steps k > 1 of refined vectors are
    bounded by 1, and SCAN's LogSumExp by ``1 + log(r) / lambda_2``.

    Args:
        ways: the directions of the configuration.
        weights: of the cross and the direct terms in S.
        steps: K.
        config: the knobs.
    """
    coned = steps if config.score_operand == "original" else 1
    cross_weight, direct_weight = weights
    total_QA = torch.zeros_like(ways[0].direct_QA, dtype=torch.float64)
    for way in ways:
        if config.aggregate == "mean":
            cross_QA = coned * largest_mean_cosine(way.direct_QA, *way.context) + (steps - coned)
        else:
            cross_QA = steps * (1 + way.counts.double().log() / config.lse_inverse_temperature)
        total_QA += cross_weight * cross_QA + direct_weight * way.direct_QA
    return total_QA + ROUNDING * len(ways) * (steps * cross_weight + direct_weight)
