"""95 % bootstrap intervals of a table's figures: which groups of queries were tested is drawn again.

Shapes: B draws, G groups of a test part, C figures of all models, W ways.

Groups are drawn with replacement, as many as there are, and with them all their queries in both directions; the
gallery stays as it was, and so do the trained models. An interval therefore says how far a figure depends on which
queries happened to be in the test part: not what a larger gallery or another training would give. Folds are resampled
each by itself and the figure is the mean over them, as in the table. Runs that share one test part get the same draws.
The interval is that of the percentiles: the central 95 % of the figure over the draws (Efron 1979).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from lile.evaluation.recalls import RECALLS
from lile.evaluation.relevance import DIRECTIONS, PROTOCOLS
from lile.reporting.group_sums import GroupSums, check_same_parts, parts_of
from lile.reporting.queries import Key
from lile.reporting.runs import ModelRuns
from lile.reporting.spec import TableSpec
from lile.seeds import seed_for

DRAWS = 2000
COVERAGE = 0.95
ROOT_SEED = 0
"""Not the config's: it would make an interval depend on more than the results it is of."""
PIECE = 1 << 22
"""Weights held at once: 32 MiB."""
INTERVAL_COLUMNS = ("row", "protocol", "direction", "metric", "low", "high")


def interval_rows(spec: TableSpec, models: Sequence[ModelRuns], draws: int = DRAWS) -> pd.DataFrame:
    """Return the interval of every figure that is a mean over queries, and of R@sum: ``INTERVAL_COLUMNS``, in percent.

    All models of a table get the same draws. Where a test part has one group alone there is no interval: its rows are
    left out.

    Args:
        spec: the table.
        models: ours.
        draws: B.

    Raises:
        InputError: models or runs that did not ask the same queries.
    """
    check_same_parts(spec, models)
    parts = [parts_of(spec, one) for one in models]
    if any(len(part.names_G) < 2 for part in parts[0]):
        return pd.DataFrame(columns=list(INTERVAL_COLUMNS))
    seeds = [seed_for(ROOT_SEED, "intervals", spec.dataset, number) for number in range(len(parts[0]))]
    rows = []
    for one, values in zip(models, bootstrap(parts, seeds, draws), strict=True):
        for (protocol, way, metric), values_B in with_sums(values).items():
            low, high = percentile_interval(values_B)
            rows.append((one.model, protocol, way, metric, low, high))
    return pd.DataFrame(rows, columns=list(INTERVAL_COLUMNS))


def bootstrap(models: Sequence[Sequence[GroupSums]], seeds: Sequence[int], draws: int) -> list[dict[Key, np.ndarray]]:
    """Return each model's figures over the draws, in percent: one mapping per model, values float64 [B].

    Args:
        models: per model its test parts, the same parts for all.
        seeds: one per part.
        draws: B.
    """
    sizes = [len(model[0].keys) for model in models]
    total_BC = np.zeros((draws, sum(sizes)))
    for number, seed in enumerate(seeds):
        sums_GC = np.concatenate([model[number].sums_GC for model in models], axis=1)
        counts_GW, ways_C = models[0][number].counts_GW, [way for model in models for way in model[number].ways_C]
        start = 0
        for weights_BG in drawn_weights(len(sums_GC), draws, seed):
            # Queries per draw vary, for groups differ in size: each draw's figure is a mean over its own queries.
            total_BC[start : start + len(weights_BG)] += weights_BG @ sums_GC / (weights_BG @ counts_GW)[:, ways_C]
            start += len(weights_BG)
    means = np.split(100.0 * total_BC / len(seeds), np.cumsum(sizes)[:-1], axis=1)
    return [dict(zip(model[0].keys, values.T, strict=True)) for model, values in zip(models, means, strict=True)]


def drawn_weights(groups: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each group is in each draw, float64 [B, G], some draws at a time."""
    rng = np.random.default_rng(seed)
    step = max(1, PIECE // groups)
    for start in range(0, draws, step):
        many = min(step, draws - start)
        places = rng.integers(groups, size=(many, groups)) + groups * np.arange(many)[:, None]
        yield np.bincount(places.ravel(), minlength=many * groups).reshape(many, groups).astype(np.float64)


def with_sums(values: Mapping[Key, np.ndarray]) -> dict[Key, np.ndarray]:
    """Return the figures with each protocol's R@sum, the sum of its six recalls, under direction ``both``."""
    sums = {
        (name, "both", "Rsum"): np.sum([values[name, way, recall] for way in DIRECTIONS for recall in RECALLS], axis=0)
        for name in PROTOCOLS
    }
    return {**values, **sums}


def percentile_interval(values_B: np.ndarray) -> tuple[float, float]:
    """Return the ends of the central 95 % of the draws."""
    low, high = np.quantile(values_B, ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2))
    return float(low), float(high)
