"""Tidy rows: one figure per row, of a fold or of all folds together.

Directions are ``i2t`` (text retrieval: an image asks), ``t2i`` (image retrieval: a text asks) and ``both`` for R@sum.
Recalls are percentages, ranks are 1-based.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lile.evaluation.metrics import BOUNDS
from lile.evaluation.recalls import RECALLS
from lile.evaluation.relevance import DIRECTIONS
from lile.reporting.runs import FIGURES, ModelRuns, protocols_of
from lile.reporting.spec import TableSpec

FOLD_COLUMNS = ("table", "model", "fold", "protocol", "direction", "metric", "value")
TABLE_COLUMNS = (
    "table",
    "dataset",
    "row",
    "source",
    "preset",
    "encoders",
    "protocol",
    "direction",
    "metric",
    "mean",
    "std",
    "folds",
    "note",
)
BOUND_NOTES = {
    "chance": "exact level of a list in random order",
    "ceiling": "the most that any scorer can reach: equal texts tie, and ties count against the query",
}
SYNTHETIC_NOTE = "SYNTHETIC data drawn by a generator: no result on real images"
DECIMALS = 6  # what a CSV keeps; far below the spread of any figure here


def fold_rows(spec: TableSpec, models: Sequence[ModelRuns]) -> pd.DataFrame:
    """Return every figure of every fold, ``FOLD_COLUMNS``; the first rows are the ``BOUNDS``, as models of these names.

    Chance and ceiling depend on the test data alone, which all models of a table share.
    """
    rows: list[tuple[Any, ...]] = []
    for bound in BOUNDS:
        rows += [
            row for fold, content in enumerate(models[0].metrics) for row in _bound_rows(spec, bound, fold, content)
        ]
    for one in models:
        rows += [
            row for fold, content in enumerate(one.metrics) for row in _figure_rows(spec, one.model, fold, content)
        ]
    frame = pd.DataFrame(rows, columns=list(FOLD_COLUMNS))
    return frame.assign(value=frame["value"].astype(float).round(DECIMALS))


def summary_rows(
    spec: TableSpec, models: Sequence[ModelRuns], folds: pd.DataFrame, published: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """Return the table, ``TABLE_COLUMNS``: chance and ceiling, published rows, ours; one block per protocol.

    Args:
        spec: the table.
        models: ours.
        folds: from :func:`fold_rows`.
        published: protocol -> its published figures, from ``read_published``.

    Returns:
        ``mean`` over folds; ``std`` is the sample standard deviation (divisor n - 1), missing for one fold and for
        published figures, which are printed without one.
    """
    keys = ["model", "protocol", "direction", "metric"]
    means = folds.groupby(keys, sort=False)["value"].agg(["mean", "std", "count"]).reset_index()
    means = means.rename(columns={"model": "row", "count": "folds"})
    parts = []
    for protocol in protocols_of(models):
        block = means[means["protocol"] == protocol]
        for bound in BOUNDS:
            said = {"source": bound, "note": bound_note(spec, bound)}
            parts.append(_describe(spec, block[block["row"] == bound], said))
        if protocol in published:
            parts.append(_published_rows(spec, published[protocol], protocol))
        for one in models:
            said = {"source": "ours", "preset": one.preset, "encoders": encoders_of(one), "note": model_note(spec, one)}
            parts.append(_describe(spec, block[block["row"] == one.model], said))
    frame = pd.concat(parts, ignore_index=True)[list(TABLE_COLUMNS)]
    return frame.assign(mean=frame["mean"].round(DECIMALS), std=frame["std"].round(DECIMALS))


def encoders_of(one: ModelRuns) -> str:
    """Return both encoders in words, saying of each whether its weights are pretrained or random."""
    return " + ".join(
        f"{encoder_name(one, side)} ({one.encoders[side].get('origin', '?')})" for side in ("image", "text")
    )


def encoder_name(one: ModelRuns, side: str) -> str:
    """Return the encoder's name in the config, or its weights where the features do not say it."""
    about = one.encoders[side]
    return str(about.get("encoder") or about.get("weights") or "unnamed")


def random_sides(one: ModelRuns) -> list[str]:
    """Return which of the encoders, ``image`` and ``text``, have random weights."""
    return [side for side in ("image", "text") if one.encoders[side].get("origin") == "random"]


def model_note(spec: TableSpec, one: ModelRuns) -> str:
    """Return what a reader of one of our rows must know beside its figures."""
    notes = [SYNTHETIC_NOTE] if spec.kind == "synthetic" else []
    notes += [f"{side} encoder starts from RANDOM weights" for side in random_sides(one)]
    if len(one.runs) == 1:
        notes.append(f"one {spec.unit}: no spread")
    elif spec.by == "split":
        notes.append("runs on one split, differing in their training seed")
    if one.codes > 1:
        notes.append(f"{spec.unit}s were trained by {one.codes} versions of the code")
    return "; ".join(notes)


def bound_note(spec: TableSpec, bound: str) -> str:
    """Return what the row ``chance`` or ``ceiling`` is."""
    note = BOUND_NOTES[bound]
    return f"{SYNTHETIC_NOTE}; {note}" if spec.kind == "synthetic" else note


def _figure_rows(spec: TableSpec, model: str, fold: int, content: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return one fold's figures as rows."""
    rows: list[tuple[Any, ...]] = []
    for name, protocol in content["protocols"].items():
        head = (spec.name, model, fold, name)
        rows += [(*head, way, figure, protocol[way][figure]) for way in DIRECTIONS for figure in FIGURES]
        rows.append((*head, "both", "Rsum", protocol["Rsum"]))
    return rows


def _bound_rows(spec: TableSpec, bound: str, fold: int, content: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return one fold's chance levels, or its ceiling, as rows."""
    rows: list[tuple[Any, ...]] = []
    for name, protocol in content["protocols"].items():
        head = (spec.name, bound, fold, name)
        for way in DIRECTIONS:
            levels = protocol[way][bound]
            rows += [(*head, way, figure, levels[figure]) for figure in FIGURES if figure in levels]
        rows.append((*head, "both", "Rsum", protocol[f"{bound}_Rsum"]))
    return rows


def _published_rows(spec: TableSpec, published: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Return the papers' figures as rows, marked as published."""
    rows: list[dict[str, Any]] = []
    for _, method in published.iterrows():
        notes = [f"as printed in: {method['source']}", method["note"]]
        if method["dataset"] != spec.kind:
            notes.insert(0, f"measured on OTHER data than {spec.dataset}")
        beside = f"its six recalls sum to {method['Rsum_of_recalls']:.1f}" if method["Rsum_differs"] else ""
        figures = [(way, name, method[f"{way}/{name}"], "") for way in DIRECTIONS for name in RECALLS]
        for way, name, value, more in [*figures, ("both", "Rsum", method["Rsum_printed"], beside)]:
            note = "; ".join(word for word in [more, *notes] if word)
            rows.append({"row": method["method"], "direction": way, "metric": name, "mean": value, "note": note})
    frame = pd.DataFrame(rows).assign(protocol=protocol, std=float("nan"), folds=None)
    return _describe(spec, frame, {"source": "published"})


def _describe(spec: TableSpec, block: pd.DataFrame, said: dict[str, str]) -> pd.DataFrame:
    """Return the block with the columns that are the same in all its rows."""
    common = {"table": spec.name, "dataset": spec.dataset, "preset": "", "encoders": "", **said}
    return block.assign(**common).astype({"folds": "Int64"})
