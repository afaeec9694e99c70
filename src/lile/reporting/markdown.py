"""A table as a Markdown page: what a person must know first, then one block per relevance protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lile.evaluation.relevance import DIRECTIONS
from lile.reporting.intervals import DRAWS as BOOTSTRAP_DRAWS
from lile.reporting.leaks import leak_line
from lile.reporting.paired import LEVEL, draws_for
from lile.reporting.rows import encoder_name, random_sides
from lile.reporting.runs import ModelRuns, protocols_of
from lile.reporting.spec import HEADLINE_KEYS, RECALL_KEYS, TableSpec

OTHERS = {"MedR": "median rank", "MeanR": "mean rank", "mAP": "mAP", "Rprec": "R-prec."}
SIDE = {"i2t": "text", "t2i": "image"}  # what is retrieved
PRESETS = {
    "paper": "margin on the summed score, as printed",
    "scaled": "margin on the mean of the score's 2K terms, not as printed",
    "custom": "a LILE of its own setting",
    "baseline": "another model than LILE",
}
BLOCKS = {
    "own": "## Own captions\n\nRight is only what belongs to the very image. "
    "Published figures, where there are any, stand here.",
    "own_blocks": "## Own captions, in blocks\n\nThe same within each block of consecutive test images, with "
    "the block's own texts: figures are means over blocks (MS-COCO's 1K). Published figures of that kind stand here.",
    "group": "## Same group\n\nRight is whatever belongs to the same group (figure, caption or case). "
    "No published figure counts this way.",
}
SYNTHETIC = (
    "> **SYNTHETIC DATA.** Every image and caption here was drawn by a generator. The figures show that the workflow "
    "works;\n> they say nothing about histopathology, and none may be quoted as a result."
)


def render_markdown(
    spec: TableSpec,
    models: Sequence[ModelRuns],
    rows: pd.DataFrame,
    published: Mapping[str, pd.DataFrame],
    leaks: Mapping[str, Any],
) -> str:
    """Return the page.

    Args:
        spec: the table.
        models: ours.
        rows: from ``rows.summary_rows``.
        published: protocol -> its published figures, from ``published.read_published``.
        leaks: from ``leaks.read_leaks``.
    """
    rows = spec.labelled(rows)
    parts = [f"# Table {spec.name}"]
    if spec.kind == "synthetic":
        parts.append(SYNTHETIC)
    facts = [
        _data_line(spec, models[0]),
        *(_model_line(spec, one) for one in models),
        f"All settings of a row: `results/{spec.dataset}/<row>/fold-0/run.json`.",
        _spread_line(spec),
        _reading_line(),
    ]
    facts += [_ceiling_line(rows), *_trust_lines(spec, rows), leak_line(leaks)]
    parts.append("\n".join(f"- {fact}" for fact in facts))
    if published:
        printed = pd.concat(published.values(), ignore_index=True).drop_duplicates(["method", "source", "note"])
        parts.append("\n".join(f"- {line}" for line in _published_lines(spec, printed)))
    for protocol in protocols_of(models):
        block = rows[rows["protocol"] == protocol]
        parts += [BLOCKS[protocol], _recall_table(block, published.get(protocol)), _rank_table(block)]
    return "\n\n".join(parts) + "\n"


def pipe_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table padded to even columns, so that it reads as plain text too; first column to the left."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[place]) for row in cells)) for place in range(len(header))]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in cells
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], rule, *lines[1:]])


def figure(mean: float, std: float | None, digits: int = 1) -> str:
    """Return ``mean ± std``, or the mean alone where there is no spread."""
    if std is None or pd.isna(std):
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {std:.{digits}f}"


def _recall_table(block: pd.DataFrame, published: pd.DataFrame | None) -> str:
    """Return the six recalls and R@sum of every row of one protocol, with the interval and letters of R@sum if any."""
    totals = block[block["metric"] == "Rsum"]
    more = {"95 % interval": totals["low"].notna().any(), "letters": (totals["letters"] != "").any()}
    shown = [name for name, has in more.items() if has]
    header = ["", *(f"{SIDE[way]} R@{name[1:]}" for way, name in RECALL_KEYS), "R@sum", *shown]
    lines = []
    for (source, row), cells in block.groupby(["source", "row"], sort=False):
        values = _figures(cells)
        values["both", "Rsum"] += _beside(str(row), published if source == "published" else None)
        (total,) = _rows(cells[cells["metric"] == "Rsum"])
        said = {"95 % interval": _interval(total.low, total.high), "letters": total.letters or "-"}
        figures = [values[key] for key in HEADLINE_KEYS]
        lines.append([_label(str(source), str(row), cells), *figures, *(said[name] for name in shown)])
    return pipe_table(header, lines)


def _rank_table(block: pd.DataFrame) -> str:
    """Return ranks and precisions of the rows that have them: papers print none, and precisions have no ceiling."""
    keys = [(way, name) for way in DIRECTIONS for name in OTHERS]
    header = ["", *(f"{SIDE[way]} {OTHERS[name]}" for way, name in keys)]
    lines = []
    for (source, row), cells in block[block["source"] != "published"].groupby(["source", "row"], sort=False):
        values = _figures(cells)
        lines.append([_label(str(source), str(row), cells), *(values.get(key, "-") for key in keys)])
    return pipe_table(header, lines)


def _figures(cells: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Return a row's figures as they are shown, by direction and metric; bounds have no spread worth showing."""
    return {
        (cell.direction, cell.metric): figure(cell.mean, cell.std if cell.source == "ours" else None)
        for cell in _rows(cells)
    }


def _interval(low: float, high: float) -> str:
    """Return both ends of an interval, or a dash where there is none."""
    return "-" if pd.isna(low) else f"{low:.1f} to {high:.1f}"


def _rows(cells: pd.DataFrame) -> list[Any]:
    """Return the frame's rows as named tuples."""
    return list(cells.itertuples(index=False))


def _label(source: str, row: str, cells: pd.DataFrame) -> str:
    """Return a row's name with what it is."""
    if source == "ours":
        return f"{row} (ours, {cells['preset'].iloc[0]})"
    return f"{row} (published)" if source == "published" else row


def _beside(row: str, published: pd.DataFrame | None) -> str:
    """Return the recalls' own sum in brackets, where a paper printed another one."""
    if published is None:
        return ""
    method = published[published["method"] == row].iloc[0]
    return f" [{method['Rsum_of_recalls']:.1f}]" if method["Rsum_differs"] else ""


def _data_line(spec: TableSpec, one: ModelRuns) -> str:
    """Return the dataset, its kind and how much was tested."""
    parts = one.metrics[: spec.folds]  # further runs are other seeds on the same folds
    images, texts = ([content[key] for content in parts] for key in ("images", "texts"))
    kind = "SYNTHETIC" if spec.kind == "synthetic" else spec.kind
    head = f"Dataset: **{spec.dataset}**, kind {kind}. "
    if spec.by == "split":
        runs = "1 run" if spec.folds == 1 else f"{spec.folds} runs that differ in their training seed"
        return f"{head}Tested on the file's own test split: {images[0]:,} images, {texts[0]:,} texts; {runs}."
    by = f", no {spec.group_by} in two folds" if spec.group_by else ""
    each = f"{_span(images)} images and {_span(texts)} texts"
    if spec.folds == 1:
        return f"{head}One fold of a cross-validation{by}, tested on {each}."
    return (
        f"{head}{spec.folds} folds of a cross-validation{by}, tested on {each} each; "
        f"together {sum(images):,} images and {sum(texts):,} texts."
    )


def _model_line(spec: TableSpec, one: ModelRuns) -> str:
    """Return the model's preset and encoders, saying loudly where weights are random."""
    label = spec.label(one.model)
    name = f"**{one.model}**" if label == one.model else f"**{label}** (`{one.model}`)"
    origins = {side: one.encoders[side].get("origin", "?") for side in ("image", "text")}
    origins |= dict.fromkeys(random_sides(one), "**RANDOM weights**")
    encoders = ", ".join(f"{side} encoder {encoder_name(one, side)} ({origin})" for side, origin in origins.items())
    meaning = PRESETS.get(one.preset, "unknown here")
    mixed = f" **Trained by {one.codes} versions of the code.**" if one.codes > 1 else ""
    return f"Ours: {name}, preset {one.preset} ({meaning}{_built_on(one)}); {encoders}.{mixed}"


def _built_on(one: ModelRuns) -> str:
    """Return which rows an ensemble or a cross-encoder stands on; nothing of a row that stands by itself."""
    config = one.runs[0]["config"]
    if "members" in config:
        return f"; the mean of the scores of {' and '.join(config['members'])}"
    if "shortlist" in config:
        return f"; scores the best {config['shortlist']['top']} of {config['shortlist']['model']} again"
    return ""


def _spread_line(spec: TableSpec) -> str:
    """Return what stands behind the ± sign."""
    seeds = f", each {spec.unit} the mean of {spec.seeds} seeds (their spread: `std_seeds` in the CSV)"
    more = seeds if spec.seeds > 1 else ""
    if spec.folds == 1:
        return f"One {spec.unit}: no spread can be given{more}."
    return f"± is the sample standard deviation over the {spec.folds} {spec.unit}s (divisor n - 1){more}."


def _trust_lines(spec: TableSpec, rows: pd.DataFrame) -> list[str]:
    """Return how intervals and letters were made, of those that the table has."""
    lines = []
    if rows["low"].notna().any():
        each = "" if spec.by == "split" or spec.folds == 1 else " within each fold"
        lines.append(
            f"95 % interval: percentile bootstrap, {BOOTSTRAP_DRAWS:,} draws of whole groups{each}, both directions' "
            "queries with them. Gallery and trained models stay as they are: it says what other queries would give "
            "against this gallery, not what another gallery or training would. Those of single figures are in the CSV."
        )
    if (rows["letters"] != "").any():
        runs = (
            " after averaging the runs on the same queries"
            if spec.seeds > 1 or (spec.by == "split" and spec.folds > 1)
            else ""
        )
        lines.append(
            f"Letters: rows that share one do not differ in R@sum at {LEVEL:g}. Paired randomisation test, the answers "
            f"to whole groups exchanged {draws_for(len(spec.models)):,} times{runs}; Holm's correction for all pairs. "
            f"P values, also for R@1: `{spec.name}.tests.csv`."
        )
    return lines


def _reading_line() -> str:
    """Return how to read the columns."""
    return (
        "Text R@K: an image asks; the share (%) of queries with a right text among the first K. "
        "Image R@K: a text asks. R@sum: the sum of the six. Ranks count from 1; ties count against the query. "
        "mAP, R-prec.: mean average precision, and precision among as many as are right (%). "
        "Chance is the exact level of a list in random order."
    )


def _ceiling_line(rows: pd.DataFrame) -> str:
    """Return what the row ``ceiling`` is, and how far below 600 it lies: no figure beside it is out of 100 then."""
    is_total = (rows["source"] == "ceiling") & (rows["metric"] == "Rsum")
    own = rows.loc[is_total & (rows["protocol"] == "own"), "mean"].item()
    said = (
        "Ceiling is the most that any scorer can reach: the same text under two test images gets the same score, and "
        "the tie counts against the query. "
    )
    if own > 600 - 0.05:
        return said + "Here nothing is lost by it."
    return f"{said}**Under own captions no model can pass R@sum {own:.1f} of 600 here.**"


def _published_lines(spec: TableSpec, published: pd.DataFrame) -> list[str]:
    """Return where the published rows come from and how far they can be compared."""
    sources = sorted({source.split(", citing")[0] for source in published["source"]})
    lines = [f"Published rows are as printed, one figure each, without a spread: {'; '.join(sources)}."]
    other = published[~published["dataset"].isin(spec.data_names)]
    if len(other):
        names = ", ".join(dict.fromkeys(other["method"]))
        data = ", ".join(sorted(set(other["dataset"])))
        lines.append(f"**{names}: measured on OTHER DATA than {spec.dataset} ({data}): do not compare them.**")
    if len(other) < len(published):
        lines.append(
            "Their papers do not say how ties, and captions shared by several images, were counted, nor (ARCH) how "
            "folds were drawn; ours are as said here. So a published figure may stand under another ceiling than ours."
        )
    if published["Rsum_differs"].any():
        lines.append("[In brackets]: the sum of the row's own six recalls, where the printed R@sum differs from it.")
    for note, methods in published[published["note"] != ""].groupby("note", sort=False)["method"]:
        lines.append(f"{', '.join(dict.fromkeys(methods))}: {note}.")
    return lines


def _span(values: Sequence[int]) -> str:
    """Return ``low to high``, or the one value."""
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
