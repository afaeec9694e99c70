"""Queries added up by group: all that resampling and swapping of whole groups needs.

Shapes: G groups of a test part, C figures, W ways (the two directions).

A group is resampled as a whole, in both directions at once: the images of a figure and their captions are not
independent queries, and R@sum adds both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lile.evaluation.relevance import DIRECTIONS
from lile.reporting.queries import KEYS, Key, RunQueries, check_same_queries
from lile.reporting.runs import ModelRuns
from lile.reporting.spec import TableSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupSums:
    """One model on one test part: what its queries got, added up by group; of several runs, their mean."""

    names_G: np.ndarray
    """The groups, sorted."""
    keys: tuple[Key, ...] = KEYS
    """The figures, [C]."""
    sums_GC: np.ndarray
    """What the group's queries got together, float64."""
    counts_GW: np.ndarray
    """How many queries the group has in each direction, float64; the same for each model."""

    @property
    def ways_C(self) -> list[int]:
        """The column of ``counts_GW`` that belongs to each figure."""
        return [DIRECTIONS.index(way) for _, way, _ in self.keys]

    @property
    def shares_GC(self) -> np.ndarray:
        """What each group adds to each figure, in percent: their sums are the figures of ``metrics.json``."""
        return 100.0 * self.sums_GC / self.counts_GW.sum(axis=0)[self.ways_C]


def parts_of(spec: TableSpec, one: ModelRuns) -> list[GroupSums]:
    """Return a model's test parts in order: the folds, or one part where all runs share one split.

    Raises:
        InputError: runs of one part did not ask the same queries.
    """
    runs_of: dict[int, list[int]] = {}
    for run in range(len(one.queries)):
        runs_of.setdefault(spec.part_of(run), []).append(run)
    for first, *others in runs_of.values():
        for other in others:
            what = f"table {spec.name}: runs {first} and {other} of {one.model}"
            check_same_queries(one.queries[first], one.queries[other], what)
    return [_part([one.queries[run] for run in runs]) for _, runs in sorted(runs_of.items())]


def check_same_parts(spec: TableSpec, models: Sequence[ModelRuns]) -> None:
    """Check that every model of a table asked the same queries in each run.

    Raises:
        InputError: one did not.
    """
    for other in models[1:]:
        for run, (mine, theirs) in enumerate(zip(models[0].queries, other.queries, strict=True)):
            check_same_queries(mine, theirs, f"table {spec.name}: runs {run} of {models[0].model} and {other.model}")


def _part(runs: Sequence[RunQueries]) -> GroupSums:
    """Return the mean of several runs on the same queries."""
    names_G = np.unique(runs[0].groups["i2t"])  # a description's group is its image's, so none is missing
    sums_GC = np.zeros((len(names_G), len(KEYS)))
    for queries in runs:
        codes = {way: np.searchsorted(names_G, groups_Q) for way, groups_Q in queries.groups.items()}
        for column, key in enumerate(KEYS):
            sums_GC[:, column] += np.bincount(codes[key[1]], queries.outcomes(key), minlength=len(names_G))
    counts = [np.bincount(codes[way], minlength=len(names_G)) for way in DIRECTIONS]
    counts_GW = np.stack(counts, axis=1).astype(np.float64)
    return GroupSums(names_G=names_G, sums_GC=sums_GC / len(runs), counts_GW=counts_GW)
