"""The table with a line per row and protocol and a column per figure, for spreadsheets and ``pandas.read_csv``."""

from __future__ import annotations

import pandas as pd

HEAD = ("table", "dataset", "row", "source", "preset", "encoders", "protocol")
STATISTICS = ("mean", "std", "low", "high", "std_seeds")
"""What a figure has, as far as the tidy table has it; the last where folds were trained with several seeds."""


def wide_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the tidy table turned wide.

    Args:
        rows: from ``rows.summary_rows``, one figure a row.

    Returns:
        ``HEAD``, then for each figure its statistics (``i2t_R1_mean``, ``i2t_R1_std``, ..., ``Rsum_mean``, ...), then
        ``folds`` and ``note``; rows in the tidy table's order. ``Rsum`` has no direction: it is of both.
    """
    named = rows.assign(figure=_figure_names(rows))
    names = list(dict.fromkeys(named["figure"]))
    statistics = [name for name in STATISTICS if name in rows and (name != "std_seeds" or rows[name].notna().any())]
    lines = []
    for _, block in named.groupby(list(HEAD), sort=False, dropna=False):
        cells = block.set_index("figure")
        values = {
            f"{name}_{statistic}": cells.at[name, statistic] if name in cells.index else float("nan")
            for name in names
            for statistic in statistics
        }
        first = {name: block[name].iloc[0] for name in (*HEAD, "folds", "note")}
        about = {name: first.pop(name) for name in HEAD}
        lines.append({**about, **values, **first})
    return pd.DataFrame(lines).astype({"folds": "Int64"})


def _figure_names(rows: pd.DataFrame) -> pd.Series:
    """Return each figure's column name: direction and metric."""
    both = rows["direction"] == "both"
    return rows["metric"].where(both, rows["direction"] + "_" + rows["metric"])
