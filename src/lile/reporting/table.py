"""One table from the results of its models' folds: as CSV (tidy, wide), Markdown and LaTeX, pictures, a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from lile.files import sha256_of, write_csv, write_json, write_text
from lile.provenance import git_state, versions
from lile.reporting.against_paper import against_paper
from lile.reporting.curves import plot_curves
from lile.reporting.latex import render_latex
from lile.reporting.leaks import leaks_path, read_leaks
from lile.reporting.markdown import render_markdown
from lile.reporting.paired import paired_rows
from lile.reporting.published import read_published
from lile.reporting.recall_curves import plot_recalls, read_ranked
from lile.reporting.rows import fold_rows, summary_rows
from lile.reporting.runs import ModelRuns, fold_paths, read_models
from lile.reporting.similarity import plot_similarity, read_batch
from lile.reporting.spec import TableSpec
from lile.reporting.wide import wide_rows

SUFFIXES = (
    "csv",
    "md",
    "tex",
    "wide.csv",
    "folds.csv",
    "tests.csv",
    "vs_paper.csv",
    "recall.png",
    "curves.png",
    "similarity.png",
    "manifest.json",
)
"""What a table consists of."""


def write_table(config: Mapping[str, Any], results: Path, out_dir: Path, command: Sequence[str]) -> str:
    """Write ``{table}.`` with each of ``SUFFIXES``; return the page.

    Args:
        config: ``table, dataset, kind, models, folds, by`` and, optionally, what else ``TableSpec`` has; further keys
            go to the manifest alone.
        results: folder of ``{dataset}/{model}/fold-{k}/`` with ``runs.FOLD_FILES``, and of
            ``{dataset}/data/leaks.json``.
        out_dir: where the files go.
        command: the command line that asked for it, for the manifest.

    Returns:
        The Markdown page.

    Raises:
        InputError: folds that are missing, damaged or of different experiments; see ``runs.read_models``,
            ``published.read_published`` and ``against_paper``. Nothing is written then.
        OSError: a file cannot be written.
    """
    spec = TableSpec.from_config(config)
    models = read_models(spec, results)
    published = {protocol: read_published(path) for protocol, path in spec.published.items()}
    folds = fold_rows(spec, models)
    tests = paired_rows(spec, models)
    rows = summary_rows(spec, models, folds, published, tests)
    leaks = read_leaks(leaks_path(results, spec.dataset))
    page = render_markdown(spec, models, rows, published, leaks)
    out = {name: out_dir / f"{spec.name}.{name}" for name in SUFFIXES}
    comparison = against_paper(spec, rows, published)
    _draw(spec, models, rows, results, out)
    write_csv(out["folds.csv"], folds)
    write_csv(out["tests.csv"], tests)
    write_csv(out["wide.csv"], wide_rows(rows))
    write_csv(out["vs_paper.csv"], comparison)
    write_text(out["tex"], render_latex(spec, rows, published))
    write_text(out["md"], page)
    write_csv(out["csv"], rows)
    write_json(out["manifest.json"], _manifest(spec, config, results, command))
    return page


def _draw(
    spec: TableSpec, models: Sequence[ModelRuns], rows: pd.DataFrame, results: Path, out: Mapping[str, Path]
) -> None:
    """Draw the table's pictures."""
    ranks = {
        one: [results / spec.dataset / one / f"fold-{run}" / "ranks.npz" for run in range(spec.runs)]
        for one in spec.models
    }
    plot_curves(spec, {one.model: one.histories for one in models}, out["curves.png"])
    plot_recalls(
        spec, {one: [read_ranked(path) for path in paths] for one, paths in ranks.items()}, rows, out["recall.png"]
    )
    plot_similarity(spec, {one: read_batch(paths[0]) for one, paths in ranks.items()}, out["similarity.png"])


def _manifest(spec: TableSpec, config: Mapping[str, Any], results: Path, command: Sequence[str]) -> dict[str, Any]:
    """Return what made this table: code, versions, config and the digest of every input."""
    inputs = [*fold_paths(spec, results), leaks_path(results, spec.dataset), *dict.fromkeys(spec.published.values())]
    return {
        "table": spec.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(command),
        **git_state(Path.cwd()),
        "versions": versions(),
        "config": dict(config),
        "inputs": {str(path): sha256_of(path) for path in inputs},
    }
