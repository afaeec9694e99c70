"""What every query of a run got: read from ``ranks.npz``, and refused where ``metrics.json`` says something else.

Shapes: Q queries of one direction: images under ``i2t``, descriptions under ``t2i``.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lile.errors import InputError
from lile.evaluation.precision import PRECISIONS
from lile.evaluation.recalls import DEPTHS, RECALLS, figures_of
from lile.evaluation.relevance import DIRECTIONS, PROTOCOLS

Key = tuple[str, str, str]
"""Protocol, direction and metric, as in ``metrics.json``."""

ENDINGS = {"mAP": "_ap", "Rprec": "_rprec"}
"""How the arrays of the precisions end."""
KEYS: tuple[Key, ...] = tuple(
    (name, way, metric) for name in PROTOCOLS for way in DIRECTIONS for metric in (*RECALLS, *PRECISIONS)
)
"""Every figure that is a mean over queries. (Those of ``own_blocks`` are means over blocks.)"""
TOLERANCE = 1e-6
"""In percent: what the order of a sum may change, and less than any single query does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunQueries:
    """The queries of one run, each with its id, its group and what it got."""

    ids: Mapping[str, np.ndarray]
    """Per direction: the asking image's or description's id, str [Q]."""
    groups: Mapping[str, np.ndarray]
    """Per direction: the group of the query's image, str [Q]."""
    ranks: Mapping[tuple[str, str], np.ndarray]
    """Per protocol and direction: 0-based rank of the first right item, int64 [Q]."""
    precisions: Mapping[Key, np.ndarray]
    """Average precision (``mAP``) and R-precision (``Rprec``), 0 to 1, float64 [Q]."""

    def outcomes(self, key: Key) -> np.ndarray:
        """Return what each query adds to a figure, 0 to 1, float64 [Q]: 100 times the mean is the table's figure."""
        protocol, way, metric = key
        if metric in PRECISIONS:
            return self.precisions[key]
        return (self.ranks[protocol, way] < DEPTHS[RECALLS.index(metric)]).astype(np.float64)


def read_queries(path: Path, metrics: Mapping[str, Any]) -> RunQueries:
    """Read a run's ``ranks.npz``.

    Args:
        path: the file, with the arrays that :func:`lile.evaluation.metrics.fold_metrics` names.
        metrics: content of the ``metrics.json`` beside it.

    Raises:
        InputError: the file is missing or damaged, was written before groups stood in it, or gives other figures than
            ``metrics.json``.
    """
    arrays = _read_arrays(path)
    image_D = _checked_owners(arrays, path)
    groups_N = arrays["image_groups"]
    queries = RunQueries(
        ids={"i2t": arrays["image_ids"], "t2i": arrays["description_ids"]},
        groups={"i2t": groups_N, "t2i": groups_N[image_D]},
        ranks={(name, way): arrays[f"{name}_{way}"] for name in PROTOCOLS for way in DIRECTIONS},
        precisions={
            (name, way, metric): arrays[f"{name}_{way}{ENDINGS[metric]}"].astype(np.float64)
            for name, way, metric in KEYS
            if metric in PRECISIONS
        },
    )
    _check_shapes(queries, path)
    _check_figures(queries, metrics, path)
    return queries


def check_same_queries(first: RunQueries, second: RunQueries, what: str) -> None:
    """Check that two runs asked the same queries of the same groups, in whatever order.

    Raises:
        InputError: they did not; ``what`` names the runs.
    """
    for way in DIRECTIONS:
        if all(np.array_equal(getattr(first, name)[way], getattr(second, name)[way]) for name in ("ids", "groups")):
            continue
        pairs = [sorted(zip(one.ids[way], one.groups[way], strict=True)) for one in (first, second)]
        if pairs[0] != pairs[1]:
            (query, group), *_ = sorted(set(pairs[0]) ^ set(pairs[1])) or [("a query", "that is there twice")]
            raise InputError(
                f"{what} were tested on different {way} queries, for instance {str(query)!r} of group {str(group)!r}; "
                "run the workflow again, so that all use the same data and folds"
            )


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the file's arrays; those that a table needs are there."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; evaluate this fold again") from None
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a readable .npz ({error}); evaluate this fold again") from None
    wanted = ["image_ids", "description_ids", "image_groups", "description_image"]
    wanted += [f"{name}_{way}{kind}" for name in PROTOCOLS for way in DIRECTIONS for kind in ("", *ENDINGS.values())]
    missing = [name for name in wanted if name not in arrays]
    if missing:
        raise InputError(
            f"{path}: lacks {', '.join(missing)}: written by an older version; intervals and tests need each query's "
            "group and precisions. Evaluate this fold again: delete the file, then make the table"
        )
    return arrays


def _checked_owners(arrays: Mapping[str, np.ndarray], path: Path) -> np.ndarray:
    """Return the row of each description's image, which must be a row of ``image_ids`` that has a group."""
    images, owners = arrays["image_ids"], arrays["description_image"]
    if arrays["image_groups"].shape != images.shape or owners.shape != arrays["description_ids"].shape:
        raise InputError(
            f"{path}: {images.shape} images, {arrays['image_groups'].shape} groups, {arrays['description_ids'].shape} "
            f"descriptions, {owners.shape} owners do not fit together; evaluate this fold again"
        )
    if not np.issubdtype(owners.dtype, np.integer) or not ((owners >= 0) & (owners < len(images))).all():
        raise InputError(f"{path}: description_image names rows that image_ids has not; evaluate this fold again")
    return owners


def _check_shapes(queries: RunQueries, path: Path) -> None:
    """Check that each query has one value of each kind."""
    kinds: dict[str, tuple[str, np.ndarray]] = {
        **{f"{name}_{way}": (way, values) for (name, way), values in queries.ranks.items()},
        **{"_".join(key): (key[1], values) for key, values in queries.precisions.items()},
    }
    for name, (way, values) in kinds.items():
        if values.shape != queries.ids[way].shape:
            raise InputError(
                f"{path}: {name} has shape {values.shape} for {queries.ids[way].shape} queries; evaluate again"
            )


def _check_figures(queries: RunQueries, metrics: Mapping[str, Any], path: Path) -> None:
    """Check that the queries give the very figures that the table prints."""
    found = {key: 100.0 * float(queries.outcomes(key).mean()) for key in KEYS}
    found |= {(*key, "MeanR"): figures_of(ranks_Q)["MeanR"] for key, ranks_Q in queries.ranks.items()}
    for (name, way, metric), value in found.items():
        printed = metrics["protocols"][name][way][metric]
        if not abs(value - printed) <= TOLERANCE:
            raise InputError(
                f"{path}: {name} {way} {metric} is {value}, but metrics.json beside it says {printed}: they are of "
                "different evaluations. Evaluate this fold again"
            )
