"""Paired tests between the rows of a table: is the difference more than an exchange of the two rows would give?

Shapes: B draws, G groups, P pairs of rows, S statistics.

If two models were equally good, either could have given either's answers to a group of queries. So the answers of whole
groups, both directions at once, are exchanged with probability one half, and the difference computed again. The p value
is the share of exchanges with a difference at least as far from zero, the observed one counted too, so it is never 0
(Fisher's randomisation test; Smucker, Allan and Carterette 2007 for retrieval). It is corrected for the number of
pairs by Holm's method (1979), within each statistic. Runs on the same queries are averaged first, so a test says
nothing of other trainings; a group that stands in several folds is exchanged in all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd

from lile.evaluation.recalls import RECALLS
from lile.evaluation.relevance import DIRECTIONS
from lile.reporting.group_sums import GroupSums, check_same_parts, parts_of
from lile.reporting.queries import Key
from lile.reporting.runs import ModelRuns
from lile.reporting.spec import TableSpec
from lile.seeds import seed_for

LEAST_DRAWS = 10_000
LEVEL = 0.05
"""Below this corrected p two rows are said to differ."""
ROOT_SEED = 0
"""Not the config's: it would make a p value depend on more than the results it is of."""
DECIMALS = 8
PIECE = 1 << 22
"""Exchanges held at once: 32 MiB."""
PROTOCOL = "own"
STATISTICS: dict[tuple[str, str], tuple[Key, ...]] = {
    ("both", "Rsum"): tuple((PROTOCOL, way, recall) for way in DIRECTIONS for recall in RECALLS),
    ("i2t", "R1"): ((PROTOCOL, "i2t", "R1"),),
    ("t2i", "R1"): ((PROTOCOL, "t2i", "R1"),),
}
"""What is tested, by direction and metric, with the figures it is the sum of."""
TEST_COLUMNS = (
    "table",
    "protocol",
    "direction",
    "metric",
    "row_a",
    "row_b",
    "difference",
    "p",
    "p_holm",
    "groups",
    "draws",
)


def draws_for(rows: int) -> int:
    """Return how many draws a table of so many rows needs: the smallest corrected p must lie far below ``LEVEL``."""
    return max(LEAST_DRAWS, round(10 * comb(rows, 2) / LEVEL))


def paired_rows(spec: TableSpec, models: Sequence[ModelRuns], draws: int | None = None) -> pd.DataFrame:
    """Return the tests between every two of our rows, ``TEST_COLUMNS``; none where there is one row.

    Args:
        spec: the table.
        models: ours.
        draws: B; by default :func:`draws_for` the table.

    Returns:
        ``difference`` is that of the table's means, row_a less row_b, in percent; ``p_holm`` is corrected for all pairs
        of the table with this statistic; ``groups`` is the number of groups exchanged.

    Raises:
        InputError: models or runs that did not ask the same queries.
    """
    check_same_parts(spec, models)
    shares = [group_shares(parts_of(spec, one)) for one in models]
    pairs, draws = list(combinations(range(len(models)), 2)), draws or draws_for(len(models))
    if not pairs:
        return pd.DataFrame(columns=list(TEST_COLUMNS))
    differences_GSP = np.stack([shares[a] - shares[b] for a, b in pairs], axis=-1)
    p_SP = randomisation_p(differences_GSP, seed_for(ROOT_SEED, "paired", spec.dataset), draws)
    rows = []
    for place, (way, metric) in enumerate(STATISTICS):
        found = zip(pairs, differences_GSP[:, place].sum(axis=0), p_SP[place], holm(p_SP[place]), strict=True)
        rows += [
            (spec.name, PROTOCOL, way, metric, models[a].model, models[b].model, *figures, len(differences_GSP), draws)
            for (a, b), *figures in found
        ]
    frame = pd.DataFrame(rows, columns=list(TEST_COLUMNS))
    return frame.round({"difference": DECIMALS, "p": DECIMALS, "p_holm": DECIMALS})


def group_shares(parts: Sequence[GroupSums]) -> np.ndarray:
    """Return what each group of a model's parts adds to each statistic, float64 [G, S], groups sorted by name.

    Their sums are the table's means, for a figure is a mean over queries and all models have the same queries.
    """
    names_G = np.unique(np.concatenate([part.names_G for part in parts]))
    shares_GS = np.zeros((len(names_G), len(STATISTICS)))
    for part in parts:
        columns = [[part.keys.index(key) for key in keys] for keys in STATISTICS.values()]
        added = np.stack([part.shares_GC[:, column].sum(axis=1) for column in columns], axis=1)
        shares_GS[np.searchsorted(names_G, part.names_G)] += added / len(parts)
    return shares_GS


def randomisation_p(differences: np.ndarray, seed: int, draws: int) -> np.ndarray:
    """Return the two-sided p value of each column's sum when whole groups change sign: (1 + count) / (1 + draws).

    Args:
        differences: what each group adds to the difference of each comparison, [G, ...].
        seed: of the exchanges, which are the same for all comparisons.
        draws: B.

    Returns:
        float64 [...].
    """
    flat_GC = differences.reshape(len(differences), -1)
    observed_C = flat_GC.sum(axis=0)
    # An exchange that gives the same difference in another order of addition counts as one that gives it.
    least_C = np.abs(observed_C) - 1e-9 * np.abs(flat_GC).sum(axis=0)
    count_C = np.zeros(len(observed_C), dtype=np.int64)
    for exchanged_BG in exchanges(len(flat_GC), draws, seed):
        count_C += (np.abs(observed_C - 2.0 * (exchanged_BG @ flat_GC)) >= least_C).sum(axis=0)
    p_C: np.ndarray = (1 + count_C) / (1 + draws)
    return p_C.reshape(differences.shape[1:])


def exchanges(groups: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yield which groups are exchanged in each draw, float64 [B, G] of 0 and 1, some draws at a time."""
    rng = np.random.default_rng(seed)
    step = max(1, PIECE // groups)
    for start in range(0, draws, step):
        yield rng.integers(2, size=(min(step, draws - start), groups), dtype=np.int8).astype(np.float64)


def holm(p_P: np.ndarray) -> np.ndarray:
    """Return p values corrected for their number: the k-th smallest of n times n + 1 - k, never falling, at most 1."""
    order = np.argsort(p_P, kind="stable")
    steps = p_P[order] * np.arange(len(p_P), 0, -1)
    corrected = np.empty(len(p_P))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected
