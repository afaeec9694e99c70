"""Our figures against those of the papers that they reproduce, one figure a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from lile.errors import InputError
from lile.reporting.published import comparison_errors
from lile.reporting.spec import HEADLINE_KEYS, TableSpec

COLUMNS = (
    "table",
    "protocol",
    "row",
    "method",
    "direction",
    "metric",
    "paper",
    "paper_sum_of_recalls",
    "ours",
    "difference",
    "std",
    "low",
    "high",
    "within",
    "note",
)


def against_paper(spec: TableSpec, rows: pd.DataFrame, published: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return paper, ours and their difference for every row that the table's key ``compare`` pairs with a method.

    Args:
        spec: the table.
        rows: from ``rows.summary_rows``.
        published: protocol -> its published figures, from ``read_published``.

    Returns:
        ``COLUMNS``: ``difference`` is ours less the paper's; ``std``, ``low`` and ``high`` are ours where there are
        any; ``within`` says whether the paper's figure lies within ours ± std, and is missing where there is no spread.
        The printed R@sum is compared; ``paper_sum_of_recalls`` stands beside it where the six recalls' own sum differs.
        Empty where there is nothing to compare.

    Raises:
        InputError: a row that the table has not, or a method that none of its published files names.
    """
    methods = dict.fromkeys(method for frame in published.values() for method in frame["method"])
    # An overlay may take a table's published figures away alone: then there is nothing to compare with.
    wrong = list(comparison_errors(spec.compare, spec.models, list(methods))) if published else []
    if wrong:
        raise InputError("\n  ".join([f"table {spec.name}:", *wrong]))
    lines = [
        line
        for protocol, frame in published.items()
        for row, method in spec.compare.items()
        for _, printed in frame[frame["method"] == method].iterrows()
        for line in _lines(spec, rows[(rows["protocol"] == protocol) & (rows["row"] == row)], printed)
    ]
    frame = pd.DataFrame(lines, columns=list(COLUMNS))
    return frame.astype({"within": "boolean"})


def _lines(spec: TableSpec, ours: pd.DataFrame, printed: Any) -> Iterator[dict[str, Any]]:
    """Yield one row's figures beside one method's; none where the row was not evaluated under that protocol."""
    other = printed["dataset"] not in spec.data_names
    notes = [f"the paper measured on OTHER data than {spec.dataset}" if other else "", printed["note"]]
    cells = ours[ours["source"] == "ours"].set_index(["direction", "metric"])
    for way, name in HEADLINE_KEYS if len(cells) else ():
        cell: Any = cells.loc[(way, name)]
        is_sum = name == "Rsum"
        paper = float(printed["Rsum_printed" if is_sum else f"{way}/{name}"])
        beside = printed["Rsum_of_recalls"] if is_sum and printed["Rsum_differs"] else None
        difference, spread = round(float(cell["mean"]) - paper, 6), cell["std"]
        yield {
            **{"table": spec.name, "protocol": cell["protocol"], "row": cell["row"], "method": printed["method"]},
            **{"direction": way, "metric": name, "paper": paper, "paper_sum_of_recalls": beside},
            **{"ours": cell["mean"], "difference": difference, "std": spread},
            **{"low": cell.get("low"), "high": cell.get("high")},
            "within": None if pd.isna(spread) else bool(abs(difference) <= spread),
            "note": "; ".join(note for note in notes if note),
        }
