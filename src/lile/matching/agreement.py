"""How much of the full ranking a shortlist finds, for each size of the shortlist, from one full scoring.

A query's shortlist of size n holds the n items with the largest direct term, and its result is their order by exact
scores. So an item of the full top k is found as soon as n reaches its place in the direct order, and nothing is scored
again per size.

Shapes: Q queries, A items of the archive, k of the full ranking, n a shortlist's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lile.errors import InputError
from lile.files import replacing
from lile.matching.archive import Archive
from lile.matching.top_k import best_first, direct_terms, top_k
from lile.values import at_least

if TYPE_CHECKING:
    import pandas as pd

    from lile.matching.matcher import IterativeMatching

SIZE_IN, DPI = (6.0, 4.0), 120


@dataclass(frozen=True)
class Agreement:
    """Search with one shortlist size beside the full ranking, over all queries. Shares lie between 0 and 1."""

    shortlist: int
    """n, items scored per query."""
    share_scored: float
    """n / A."""
    recall: float
    """Share of the full ranking's best k that is found."""
    same_first: float
    """Share of queries with the same first item."""
    same_all: float
    """Share of queries with the same k items in the same order."""


def shortlist_sizes(k: int, archive: int) -> list[int]:
    """Return sizes for a curve: k times 1, 2, 5, 10, 20, 50, .. below the archive's size, and that size.

    Raises:
        InputError: k below one or above the archive's size.
    """
    _check_k(k, archive)
    steps = (k * step * 10**power for power in range(len(str(archive)) + 1) for step in (1, 2, 5))
    return [*(size for size in steps if size < archive), archive]


def agreement(scores_QA: Tensor, direct_QA: Tensor, k: int, sizes: Sequence[int]) -> list[Agreement]:
    """Return a row per shortlist size, in the order of ``sizes``.

    Args:
        scores_QA: S of every query with every item of the archive.
        direct_QA: their direct terms.
        k: how many of the full ranking are looked for.
        sizes: shortlist sizes from k to A.

    Raises:
        InputError: shapes that differ, no query, a number that is not finite, or k or a size out of range.
    """
    if scores_QA.ndim != 2 or scores_QA.shape != direct_QA.shape or not len(scores_QA):
        raise InputError(
            f"scores {list(scores_QA.shape)} and direct {list(direct_QA.shape)}: expected one [queries, archive]"
        )
    size = scores_QA.shape[1]
    _check_k(k, size)
    for name, values in (("scores", scores_QA), ("direct", direct_QA)):
        if not bool(torch.isfinite(values).all()):
            query, item = (int(place) for place in (~torch.isfinite(values)).nonzero()[0])
            raise InputError(f"{name}: query {query}, item {item} is {float(values[query, item])}; it cannot be ranked")
    for n in sizes:
        if not k <= n <= size:
            raise InputError(f"sizes: {n} is not between k={k} and the archive's size {size}")
    needed_Qk = places_in_direct_order(best_first(scores_QA)[:, :k], direct_QA) + 1
    return [_row(needed_Qk, n, size) for n in sizes]


def agreement_of(
    matcher: IterativeMatching,
    queries: Tensor,
    archive: Archive,
    k: int,
    sizes: Sequence[int] | None = None,
    *,
    keep: Tensor | None = None,
) -> list[Agreement]:
    """Score all queries with the whole archive, and return a row per shortlist size.

    Args:
        matcher: the one the archive was made with.
        queries: vectors [Q, r, d] of the side that the archive is not.
        archive: what is searched.
        k: how many of the full ranking are looked for.
        sizes: shortlist sizes from k to A; :func:`shortlist_sizes` where None.
        keep: [Q, r] True where a query's vector is there; None where all are.

    Raises:
        InputError: as of :func:`lile.matching.top_k.top_k` and :func:`agreement`.
    """
    direct_QA = direct_terms(queries, archive, keep)
    full = top_k(matcher, queries, archive, len(archive), len(archive), keep=keep)
    scores_QA = torch.empty_like(full.scores).scatter_(1, full.indices, full.scores)
    return agreement(scores_QA, direct_QA, k, shortlist_sizes(k, len(archive)) if sizes is None else sizes)


def places_in_direct_order(items_Qk: Tensor, direct_QA: Tensor) -> Tensor:
    """Return [Q, k]: each item's place, from 0, in its query's order by direct term."""
    order_QA = best_first(direct_QA)
    places_QA = torch.empty_like(order_QA)
    places_QA.scatter_(1, order_QA, torch.arange(order_QA.shape[1], device=order_QA.device).expand_as(order_QA))
    return places_QA.gather(1, items_Qk)


def table(rows: Sequence[Agreement]) -> pd.DataFrame:
    """Return the rows as a table with the fields of :class:`Agreement` as columns."""
    import pandas as pd

    return pd.DataFrame([asdict(row) for row in rows])


def plot_agreement(rows: Sequence[Agreement], path: Path, title: str = "") -> None:
    """Draw the three shares over the shortlist's size into a PNG, atomically.

    Args:
        rows: of :func:`agreement`.
        path: the PNG.
        title: stands above it.

    Raises:
        InputError: there is no row.
        OSError: the file cannot be written.
    """
    if not rows:
        raise InputError(f"{path}: no shortlist size to draw; give at least one")
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # needs no display and leaves pyplot's state alone
    from matplotlib.figure import Figure

    drawing = Figure(figsize=SIZE_IN, layout="constrained")
    axes = drawing.subplots()
    ordered = sorted(rows, key=lambda row: row.shortlist)
    sizes = [row.shortlist for row in ordered]
    axes.plot(sizes, [row.recall for row in ordered], marker="o", label="of the full top k found")
    axes.plot(sizes, [row.same_first for row in ordered], marker="s", label="queries with the same first item")
    axes.plot(sizes, [row.same_all for row in ordered], marker="^", label="queries with the same top k")
    axes.set(xscale="log", xlabel="shortlist (items scored per query)", ylabel="share", ylim=(-0.02, 1.02), title=title)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    with replacing(path) as part:
        FigureCanvasAgg(drawing).print_figure(part, dpi=DPI, format="png")


def _row(needed_Qk: Tensor, n: int, size: int) -> Agreement:
    found_Qk = needed_Qk <= n
    return Agreement(
        shortlist=n,
        share_scored=n / size,
        recall=float(found_Qk.double().mean()),
        same_first=float(found_Qk[:, 0].double().mean()),
        same_all=float(found_Qk.all(dim=1).double().mean()),
    )


def _check_k(k: int, size: int) -> None:
    at_least("k", k, 1)
    if k > size:
        raise InputError(f"k={k} is more than the archive holds, {size}; ask for at most {size}")
