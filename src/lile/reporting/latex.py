"""A table for a paper: LaTeX with booktabs, one environment per protocol."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lile.reporting.markdown import figure
from lile.reporting.spec import HEADLINE_KEYS, RECALL_KEYS, TableSpec

PROTOCOL_WORDS = {
    "own": "Right is only what belongs to the very image",
    "own_blocks": "Right is only what belongs to the very image, within consecutive blocks of test images; figures are "
    "means over blocks",
    "group": "Right is whatever belongs to the same group (figure, caption or case)",
}
HEADER = r"""\toprule
 & \multicolumn{3}{c}{Text retrieval} & \multicolumn{3}{c}{Image retrieval} & \\
\cmidrule(lr){2-4}\cmidrule(lr){5-7}
 & R@1 & R@5 & R@10 & R@1 & R@5 & R@10 & R@sum \\
\midrule"""
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def render_latex(spec: TableSpec, rows: pd.DataFrame, published: Mapping[str, pd.DataFrame]) -> str:
    r"""Return the page's tables of recalls as LaTeX that needs ``\usepackage{booktabs}`` and nothing else.

    Per column the best of our rows is bold, the second best underlined; rows that print the same figure share it.
    Published rows stand apart under a dagger, or a double dagger where they were measured on other data.

    Args:
        spec: the table.
        rows: from ``rows.summary_rows``; a column ``letters`` is shown beside R@sum where there is one.
        published: protocol -> its published figures, from ``read_published``.
    """
    rows = spec.labelled(rows)
    tables = [
        _table(spec, rows[rows["protocol"] == protocol], published.get(protocol))
        for protocol in dict.fromkeys(rows["protocol"])
    ]
    return "% Needs \\usepackage{booktabs}.\n" + "\n".join(tables)


def escape(text: str) -> str:
    """Return text in which nothing is a command to LaTeX."""
    return re.sub("|".join(map(re.escape, _SPECIAL)), lambda found: _SPECIAL[found[0]], text)


def _table(spec: TableSpec, block: pd.DataFrame, published: pd.DataFrame | None) -> str:
    """Return one protocol's environment."""
    protocol = str(block["protocol"].iloc[0])
    sections = [
        [_line(str(row), cells) for row, cells in _of(block, ["chance", "ceiling"])],
        [_published_line(spec, method) for _, method in published.iterrows()] if published is not None else [],
        _our_lines(list(_of(block, ["ours"]))),
    ]
    body = "\n\\midrule\n".join("\n".join(section) for section in sections if section)
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering\small",
            rf"\caption{{{_caption(spec, protocol, block, published)}}}",
            rf"\label{{tab:{spec.name}-{protocol}}}".replace("_", "-"),
            rf"\begin{{tabular}}{{l{'r' * len(HEADLINE_KEYS)}}}",
            HEADER,
            body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table*}",
            "",
        ]
    )


def _of(block: pd.DataFrame, sources: Sequence[str]) -> Any:
    """Return (row, its cells) for the rows of these sources, in the table's order."""
    return block[block["source"].isin(sources)].groupby("row", sort=False)


def _line(label: str, cells: pd.DataFrame, marks: Mapping[Any, str] | None = None, letters: str = "") -> str:
    """Return one row; ``marks`` names the command around a figure."""
    means, spreads = _by_key(cells, "mean"), _by_key(cells, "std")
    spread = cells["source"].iloc[0] == "ours"  # of the bounds it would say how the folds' sizes differ
    texts = []
    for key in HEADLINE_KEYS:
        text, mark = escape(figure(means[key], spreads[key] if spread else None)), (marks or {}).get(key)
        texts.append(f"\\{mark}{{{text}}}" if mark else text)
    texts[-1] += rf"\textsuperscript{{{escape(letters)}}}" if letters else ""
    return f"{escape(label)} & {' & '.join(texts)} \\\\"


def _our_lines(ours: list[tuple[Any, pd.DataFrame]]) -> list[str]:
    """Return our rows, the best and the second best of each column marked."""
    marks: dict[Any, dict[Any, str]] = {row: {} for row, _ in ours}
    means = {row: _by_key(cells, "mean") for row, cells in ours}
    for key in HEADLINE_KEYS:
        printed = {row: round(figures[key], 1) for row, figures in means.items()}
        places = sorted(set(printed.values()), reverse=True)
        for row, value in printed.items():
            if len(ours) > 1 and value in places[:2]:
                marks[row][key] = ("textbf", "underline")[places.index(value)]
    return [_line(str(row), cells, marks[row], _letters(cells)) for row, cells in ours]


def _by_key(cells: pd.DataFrame, column: str) -> dict[tuple[str, str], float]:
    """Return a row's figures by direction and metric."""
    keys = zip(cells["direction"], cells["metric"], strict=True)
    return dict(zip(keys, cells[column].astype(float), strict=True))


def _letters(cells: pd.DataFrame) -> str:
    """Return the letters that the paired tests of R@sum gave a row, if there are any."""
    if "letters" not in cells:
        return ""
    said = cells.loc[cells["metric"] == "Rsum", "letters"].fillna("")
    return str(said.iloc[0]) if len(said) else ""


def _published_line(spec: TableSpec, method: Any) -> str:
    """Return a published row, as printed."""
    dagger = r"$^{\dagger}$" if method["dataset"] in spec.data_names else r"$^{\ddagger}$"
    figures = [f"{method[f'{way}/{name}']:.1f}" for way, name in RECALL_KEYS]
    beside = f" [{method['Rsum_of_recalls']:.1f}]" if method["Rsum_differs"] else ""
    return f"{escape(method['method'])}{dagger} & {' & '.join(figures)} & {method['Rsum_printed']:.1f}{beside} \\\\"


def _caption(spec: TableSpec, protocol: str, block: pd.DataFrame, published: pd.DataFrame | None) -> str:
    """Return what a reader must know beside the figures."""
    words = [r"\textbf{SYNTHETIC DATA drawn by a generator: no result on real images.}"] * (spec.kind == "synthetic")
    words.append(f"Recalls (\\%) on {escape(spec.dataset)}. {PROTOCOL_WORDS[protocol]}.")
    words.append(_runs(spec))
    random = block.loc[block["note"].str.contains("RANDOM weights"), "row"]
    if len(random):
        words.append(rf"\textbf{{Encoders with random weights}}: {escape(', '.join(dict.fromkeys(random)))}.")
    if len(spec.models) > 1:
        words.append("Best of our rows in bold, second underlined.")
    if published is not None:
        words += _daggers(spec, published)
    if "letters" in block and block["letters"].fillna("").ne("").any():
        words.append("Rows that share a letter at R@sum do not differ significantly (paired tests, Holm-corrected).")
    return " ".join(words)


def _runs(spec: TableSpec) -> str:
    """Return over what is averaged, and what stands behind the ± sign."""
    number = spec.folds * spec.seeds
    if number == 1:
        return f"One {spec.unit}: no spread."
    seeds = f" with {spec.seeds} seeds each" if spec.seeds > 1 else ""
    kind = "of a cross-validation" if spec.by == "cross_validation" else "on one split"
    return rf"Mean $\pm$ sample standard deviation over {spec.folds} {spec.unit}s {kind}{seeds}."


def _daggers(spec: TableSpec, published: pd.DataFrame) -> list[str]:
    """Return what the marks of published rows mean."""
    here = published["dataset"].isin(spec.data_names)
    sources = escape("; ".join(sorted({source.split(", citing")[0] for source in published["source"]})))
    words = [rf"$^{{\dagger}}$As published, not computed by us ({sources})."] if here.any() else []
    if not here.all():
        other = escape(", ".join(sorted(set(published.loc[~here, "dataset"]))))
        words.append(
            rf"$^{{\ddagger}}$As published ({sources}), measured on \textbf{{other data}} ({other}): not comparable."
        )
    if published["Rsum_differs"].any():
        words.append("In brackets: the sum of the row's own recalls, where the printed R@sum differs.")
    return words
