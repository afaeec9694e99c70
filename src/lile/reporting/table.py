"""One table from the results of its models' folds: a tidy CSV, a page, every fold's figures, curves, a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lile.files import sha256_of, write_csv, write_json, write_text
from lile.provenance import git_state, versions
from lile.reporting.curves import plot_curves
from lile.reporting.markdown import render_markdown
from lile.reporting.published import read_published
from lile.reporting.rows import fold_rows, summary_rows
from lile.reporting.runs import fold_paths, read_models
from lile.reporting.spec import TableSpec

SUFFIXES = ("csv", "md", "folds.csv", "curves.png", "manifest.json")
"""What a table consists of."""


def write_table(config: Mapping[str, Any], results: Path, out_dir: Path, command: Sequence[str]) -> str:
    """Write ``{table}.csv``, ``.md``, ``.folds.csv``, ``.curves.png``, ``.manifest.json``; return the page.

    Args:
        config: ``table, dataset, kind, models, folds, by`` and, optionally, ``published, group_by``; whatever else it
            holds goes to the manifest alone.
        results: folder of ``{dataset}/{model}/fold-{k}/{metrics.json,run.json,history.jsonl}``.
        out_dir: where the five files go.
        command: the command line that asked for it, for the manifest.

    Returns:
        The Markdown page.

    Raises:
        InputError: folds that are missing, damaged or of different experiments; see ``runs.read_models`` and
            ``published.read_published``. Nothing is written then.
        OSError: a file cannot be written.
    """
    spec = TableSpec.from_config(config)
    models = read_models(spec, results)
    published = {protocol: read_published(path) for protocol, path in spec.published.items()}
    folds = fold_rows(spec, models)
    rows = summary_rows(spec, models, folds, published)
    page = render_markdown(spec, models, rows, published)
    out = {name: out_dir / f"{spec.name}.{name}" for name in SUFFIXES}
    plot_curves({one.model: one.histories for one in models}, out["curves.png"], spec.unit)
    write_csv(out["folds.csv"], folds)
    write_text(out["md"], page)
    write_csv(out["csv"], rows)
    write_json(out["manifest.json"], _manifest(spec, config, results, command))
    return page


def _manifest(spec: TableSpec, config: Mapping[str, Any], results: Path, command: Sequence[str]) -> dict[str, Any]:
    """Return what made this table: code, versions, config and the digest of every input."""
    inputs = [*fold_paths(spec, results), *dict.fromkeys(spec.published.values())]
    return {
        "table": spec.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(command),
        **git_state(Path.cwd()),
        "versions": versions(),
        "config": dict(config),
        "inputs": {str(path): sha256_of(path) for path in inputs},
    }
