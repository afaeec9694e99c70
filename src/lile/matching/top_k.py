"""The best k of an archive without scoring all of it: a shortlist by the direct term, exact scores on the shortlist.

Works either way: images asking an archive of texts, texts asking an archive of images. The direct term of all pairs is
one matrix product; only what it puts on the shortlist is scored. How much of the full ranking that finds is measured
by :mod:`lile.matching.agreement`; :mod:`lile.matching.bound` proves it per query.

Shapes: Q queries (of a tile), A items of the archive, L of them scored, d width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lile.errors import InputError
from lile.matching.archive import Archive, Prepared
from lile.matching.backend import cross_scores
from lile.matching.bound import Cones, Way, upper_bound
from lile.matching.eager import tiles
from lile.values import at_least

if TYPE_CHECKING:
    from lile.matching.matcher import IterativeMatching

TILE_PAIRS = 1 << 21  # pairs whose direct terms and bounds are held together: some 100 MiB


@dataclass(frozen=True)
class Found:
    """The best k of each query, best first; of equal scores the lower index comes first."""

    indices: Tensor
    """[Q, k] int64: places in the archive."""
    scores: Tensor
    """[Q, k]: S of Eq. 7, as ``matcher.scores`` computes it."""
    proven: Tensor
    """[Q] True where no item that was not scored can score as high: these are the full ranking's best k. Holds for
    scores in float32 or float64, not where an engine rounds its inputs to bfloat16."""
    scored: Tensor
    """[Q] int64: how many items were scored."""
    archive: int
    """A: how many there are."""


@torch.no_grad()
def top_k(
    matcher: IterativeMatching,
    queries: Tensor,
    archive: Archive,
    k: int,
    shortlist: int,
    *,
    keep: Tensor | None = None,
    exact: bool = False,
) -> Found:
    """Return the best k of the archive for each query.

    Each query's ``shortlist`` items with the largest direct term are scored, and the best k of them returned. Whether
    they are the best k of all is said by ``proven``, from an upper bound of every other score.

    Args:
        matcher: the one the archive was made with.
        queries: vectors [Q, r, d] of the side that the archive is not; r may differ from the archive's.
        archive: what is searched.
        k: how many to return.
        shortlist: how many to score per query; the archive's size or more scores all.
        keep: [Q, r] True where a query's vector is there; None where all are.
        exact: then score every item whose upper bound reaches the k-th best score so far too: every query is proven.
            How many items that takes depends on the model and the data; it may be the whole archive.

    Raises:
        InputError: k or shortlist out of range, queries that do not fit the archive, an archive made with another
            matcher or before further training, or a model without a direct term and a shortlist below the archive.
    """
    _check(matcher, archive, k, shortlist)
    with torch.autocast(queries.device.type, enabled=False):
        asked = archive.asked_by(queries, keep)
        search = _all_scored if shortlist >= len(archive) else _shortlisted
        parts = [search(asked, tile, archive, k, shortlist, exact) for tile in _tiles(asked, archive)]
    columns = zip(*((f.indices, f.scores, f.proven, f.scored) for f in parts), strict=True)
    indices, scores, proven, scored = (torch.cat(column) for column in columns)
    return Found(indices, scores, proven, scored, len(archive))


@torch.no_grad()
def direct_terms(queries: Tensor, archive: Archive, keep: Tensor | None = None) -> Tensor:
    """Return [Q, A]: the direct term of Eq. 5 by which shortlists are made.

    Args:
        queries: vectors [Q, r, d] of the side that the archive is not.
        archive: what is searched.
        keep: [Q, r] True where a query's vector is there; None where all are.

    Raises:
        InputError: queries that do not fit the archive, or a model without a direct term.
    """
    _check(archive.matcher, archive, 1, 1)
    with torch.autocast(queries.device.type, enabled=False):
        asked = archive.asked_by(queries, keep, ready=False)
        return torch.cat([_sum(_direct(asked, tile, archive)) for tile in _tiles(asked, archive)])


def best_first(values: Tensor) -> Tensor:
    """Return the places along the last axis, largest value first, of equal values the lower place first."""
    return values.argsort(dim=-1, descending=True, stable=True)


def _shortlisted(asked: Prepared, tile: slice, archive: Archive, k: int, shortlist: int, exact: bool) -> Found:
    """Return the best k of the shortlists of a tile of queries, or of all that could be among them."""
    parts = _direct(asked, tile, archive)
    direct_QA, bound_QA = _sum(parts), _bound(asked, tile, archive, parts)
    first_QL = best_first(direct_QA)[:, :shortlist].sort(dim=1).values  # by index, as ties are broken
    rows = []
    for row, found_L in enumerate(first_QL):
        query = slice(tile.start + row, tile.start + row + 1)
        scores_L = _scores(asked, query, archive, found_L, direct_QA[row : row + 1])[0]
        reach_A = bound_QA[row] >= scores_L.topk(k).values[-1]  # who may be among the best: an equal one by its index
        reach_A[found_L] = False
        if exact and bool(reach_A.any()):
            more = reach_A.nonzero()[:, 0]
            more_scores = _scores(asked, query, archive, more, direct_QA[row : row + 1])[0]
            found_L, by_index = torch.cat([found_L, more]).sort()
            scores_L = torch.cat([scores_L, more_scores])[by_index]
            reach_A = torch.zeros_like(reach_A)
        best = best_first(scores_L)[:k]
        rows.append((found_L[best], scores_L[best], ~reach_A.any(), best.new_tensor(len(found_L))))
    indices, scores, proven, scored = (torch.stack(column) for column in zip(*rows, strict=True))
    return Found(indices, scores, proven, scored, len(archive))


def _all_scored(asked: Prepared, tile: slice, archive: Archive, k: int, shortlist: int, exact: bool) -> Found:
    """Return the best k of the whole archive for a tile of queries."""
    del shortlist, exact
    parts = _direct(asked, tile, archive)
    everything = torch.arange(len(archive), device=archive.first.device)
    scores_QA = _scores(asked, tile, archive, everything, _sum(parts) if parts else None)
    best = best_first(scores_QA)[:, :k]
    scored = best.new_full((len(best),), len(archive))
    return Found(best, scores_QA.gather(1, best), torch.ones_like(scored, dtype=torch.bool), scored, len(archive))


def _scores(asked: Prepared, query: slice, archive: Archive, index_L: Tensor, direct_QA: Tensor | None) -> Tensor:
    """Return S [Q, L] of some queries with some items of the archive; ``direct_QA`` holds all items."""
    matcher = archive.matcher
    distinct, back_L = archive.first[index_L].unique(return_inverse=True)  # equal items are scored once
    ours = asked.sides(matcher, query)
    theirs = archive.sides(matcher, slice(None) if len(distinct) == len(archive) else distinct)
    cross = cross_scores(matcher, theirs, ours).T if archive.side == "image" else cross_scores(matcher, ours, theirs)
    cross_weight, direct_weight = matcher.weights()
    scores_QL = cross[:, back_L] * cross_weight
    return scores_QL if direct_QA is None else scores_QL + direct_weight * direct_QA[:, index_L]


def _direct(asked: Prepared, tile: slice, archive: Archive) -> list[Tensor]:
    """Return each direction's part [Q, A] of the direct term of a tile of queries."""
    parts = [q_Qd[tile] @ a_Ad.T for q_Qd, a_Ad in zip(asked.factors, archive.factors, strict=True)]
    return [part_QA[:, archive.first] for part_QA in parts]


def _sum(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)).sum(0) if len(parts) > 1 else parts[0]


def _bound(asked: Prepared, tile: slice, archive: Archive, parts: Sequence[Tensor]) -> Tensor:
    """Return the upper bound [Q, A] of the scores of a tile of queries."""
    ways = []
    for part_QA, of_query, of_archive in zip(parts, asked.cones, archive.cones, strict=True):
        if of_archive is not None:
            ways.append(Way(part_QA, of_archive, asked.counts[tile, None]))
        else:
            assert of_query is not None, "in every direction one side is asked"
            ways.append(Way(part_QA, Cones(*(value[tile, None] for value in of_query)), archive.counts))
    cross_weight, direct_weight = (float(weight) for weight in archive.matcher.weights())
    return upper_bound(ways, (cross_weight, direct_weight), archive.matcher.steps, archive.matcher.config)


def _tiles(asked: Prepared, archive: Archive) -> Iterator[slice]:
    return tiles(len(asked), len(archive), TILE_PAIRS)


def _check(matcher: IterativeMatching, archive: Archive, k: int, shortlist: int) -> None:
    at_least("k", k, 1)
    at_least("shortlist", shortlist, 1)
    size = len(archive)
    if k > size:
        raise InputError(f"k={k} is more than the archive holds, {size}; ask for at most {size}")
    if shortlist < k:
        raise InputError(f"shortlist={shortlist} is below k={k}; score at least as many as are to be returned")
    if archive.matcher is not matcher:
        raise InputError("archive: made with another matcher; make it again with this one")
    if matcher.config.direct == "none" and shortlist < size:
        raise InputError(
            "matching.direct=none: the model has no direct term to make a shortlist by; "
            f"score the whole archive with shortlist={size}, or train with matching.direct=mean_map"
        )
