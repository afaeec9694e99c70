"""Tidy rows: one figure per row, of a fold or of all folds together.

Directions are ``i2t`` (text retrieval: an image asks), ``t2i`` (image retrieval: a text asks) and ``both`` for R@sum.
Recalls are percentages, ranks are 1-based.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lile.evaluation.protocols import BOUNDS
from lile.evaluation.relevance import DIRECTIONS
from lile.reporting.intervals import interval_rows
from lile.reporting.letters import letters_of
from lile.reporting.runs import FIGURES, ModelRuns, protocols_of
from lile.reporting.spec import RECALL_KEYS, TableSpec

FOLD_COLUMNS = ("table", "model", "fold", "seed", "protocol", "direction", "metric", "value")
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
    "low",
    "high",
    "std_seeds",
    "letters",
    "folds",
    "note",
)
CELL = ["row", "protocol", "direction", "metric"]
"""What names a figure of the table."""
BOUND_NOTES = {
    "chance": "exact level of a list in random order",
    "ceiling": "the most that any scorer can reach: equal texts tie, and ties count against the query",
}
SYNTHETIC_NOTE = "SYNTHETIC data drawn by a generator: no result on real images"
DECIMALS = 6  # what a CSV keeps; far below the spread of any figure here


def fold_rows(spec: TableSpec, models: Sequence[ModelRuns]) -> pd.DataFrame:
    """Return every figure of every run, ``FOLD_COLUMNS``; the first rows are the ``BOUNDS``, as models of these names.

    Chance and ceiling depend on the test data alone, which all models of a table share. ``seed`` counts the trainings
    of a fold from 0.
    """
    rows: list[tuple[Any, ...]] = []
    for bound in BOUNDS:
        rows += [row for run, content in enumerate(models[0].metrics) for row in _bound_rows(spec, bound, run, content)]
    for one in models:
        rows += [row for run, content in enumerate(one.metrics) for row in _figure_rows(spec, one.model, run, content)]
    frame = pd.DataFrame(rows, columns=list(FOLD_COLUMNS))
    return frame.assign(value=frame["value"].astype(float).round(DECIMALS))


def summary_rows(
    spec: TableSpec,
    models: Sequence[ModelRuns],
    folds: pd.DataFrame,
    published: Mapping[str, pd.DataFrame],
    tests: pd.DataFrame,
) -> pd.DataFrame:
    """Return the table, ``TABLE_COLUMNS``: chance and ceiling, published rows, ours; one block per protocol.

    Args:
        spec: the table.
        models: ours.
        folds: from :func:`fold_rows`.
        published: protocol -> its published figures, from ``read_published``.
        tests: of our rows, from ``paired.paired_rows``.

    Returns:
        ``mean`` over folds; ``std`` is the sample standard deviation (divisor n - 1) over folds of the mean over their
        seeds, missing for one fold and for published figures, which are printed without one; ``std_seeds`` is the mean
        over folds of the standard deviation over seeds, missing where each was trained once. ``low`` and ``high`` are
        the ends of our rows' bootstrap intervals (``intervals.interval_rows``). Our rows of a tested figure that share
        one of their ``letters`` do not differ.
    """
    means = _means(folds)
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
    frame = pd.concat(parts, ignore_index=True)
    for found in (interval_rows(spec, models), _letters(frame, tests)):
        frame = frame.merge(found.assign(source="ours"), on=[*CELL, "source"], how="left")  # a method may have our name
    numbers = ("mean", "std", "low", "high", "std_seeds")
    rounded = {name: frame[name].astype(float).round(DECIMALS) for name in numbers}
    return frame.assign(letters=frame["letters"].fillna(""), **rounded)[list(TABLE_COLUMNS)]


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
    if spec.folds == 1:
        notes.append(f"one {spec.unit}: no spread")
    elif spec.by == "split":
        notes.append("runs on one split, differing in their training seed")
    if spec.seeds > 1:
        notes.append(f"each {spec.unit} trained with {spec.seeds} seeds")
    if one.codes > 1:
        notes.append(f"{spec.unit}s were trained by {one.codes} versions of the code")
    return "; ".join(notes)


def bound_note(spec: TableSpec, bound: str) -> str:
    """Return what the row ``chance`` or ``ceiling`` is."""
    note = BOUND_NOTES[bound]
    return f"{SYNTHETIC_NOTE}; {note}" if spec.kind == "synthetic" else note


def _means(folds: pd.DataFrame) -> pd.DataFrame:
    """Return every figure's mean and spread: over the seeds of a fold first, then over folds."""
    keys = ["model", "protocol", "direction", "metric"]
    seeds = folds.groupby([*keys, "fold"], sort=False)["value"].agg(["mean", "std"]).reset_index()
    over = seeds.groupby(keys, sort=False)
    means = over.agg(
        mean=("mean", "mean"), std=("mean", "std"), folds=("mean", "count"), std_seeds=("std", "mean")
    ).reset_index()
    return means.rename(columns={"model": "row"})


def _letters(frame: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
    """Return the letters of our rows for every tested figure."""
    lines: list[tuple[str, ...]] = []
    ours = frame[frame["source"] == "ours"]
    for figure, found in tests.groupby(CELL[1:], sort=False):
        cells = ours[(ours[CELL[1:]] == list(figure)).all(axis=1)]
        letters = letters_of(found, dict(zip(cells["row"], cells["mean"], strict=True)))
        lines += [(row, *map(str, figure), said) for row, said in letters.items()]
    return pd.DataFrame(lines, columns=[*CELL, "letters"], dtype=object)


def _figure_rows(spec: TableSpec, model: str, run: int, content: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return one run's figures as rows."""
    rows: list[tuple[Any, ...]] = []
    for name, protocol in content["protocols"].items():
        head = (spec.name, model, run % spec.folds, run // spec.folds, name)
        rows += [(*head, way, figure, protocol[way][figure]) for way in DIRECTIONS for figure in FIGURES]
        rows.append((*head, "both", "Rsum", protocol["Rsum"]))
    return rows


def _bound_rows(spec: TableSpec, bound: str, run: int, content: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return one run's chance levels, or its ceiling, as rows."""
    rows: list[tuple[Any, ...]] = []
    for name, protocol in content["protocols"].items():
        head = (spec.name, bound, run % spec.folds, run // spec.folds, name)
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
        if method["dataset"] not in spec.data_names:
            notes.insert(0, f"measured on OTHER data than {spec.dataset}")
        beside = f"its six recalls sum to {method['Rsum_of_recalls']:.1f}" if method["Rsum_differs"] else ""
        figures = [(way, name, method[f"{way}/{name}"], "") for way, name in RECALL_KEYS]
        for way, name, value, more in [*figures, ("both", "Rsum", method["Rsum_printed"], beside)]:
            note = "; ".join(word for word in [more, *notes] if word)
            rows.append({"row": method["method"], "direction": way, "metric": name, "mean": value, "note": note})
    frame = pd.DataFrame(rows).assign(protocol=protocol, std=float("nan"), std_seeds=float("nan"), folds=None)
    return _describe(spec, frame, {"source": "published"})


def _describe(spec: TableSpec, block: pd.DataFrame, said: dict[str, str]) -> pd.DataFrame:
    """Return the block with the columns that are the same in all its rows."""
    common = {"table": spec.name, "dataset": spec.dataset, "preset": "", "encoders": "", **said}
    return block.assign(**common).astype({"folds": "Int64"})
