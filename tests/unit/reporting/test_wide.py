"""The wide table: the tidy one's figures, a line per row and protocol."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from lile.reporting.wide import HEAD, wide_rows


def test_every_figure_of_the_tidy_table_stands_once(tidy):
    rows = tidy({"a": [1, 2, 3, 4, 5, 6, 21], "b": [2, 3, 4, 5, 6, 7, 27]}, protocols=("own", "group"))
    wide = wide_rows(rows)
    assert wide[["row", "protocol"]].values.tolist() == [
        [row, protocol] for protocol in ("own", "group") for row in ("chance", "ceiling", "a", "b")
    ]
    names = [f"{way}_R{depth}" for way in ("i2t", "t2i") for depth in (1, 5, 10)]
    statistics = [f"{name}_{statistic}" for name in [*names, "Rsum"] for statistic in ("mean", "std", "low", "high")]
    assert list(wide.columns) == [*HEAD, *statistics, "folds", "note"]
    assert wide.loc[3, [f"{name}_mean" for name in [*names, "Rsum"]]].tolist() == [2, 3, 4, 5, 6, 7, 27]
    read = pd.read_csv(io.StringIO(wide.to_csv(index=False)))
    assert read.loc[2, "t2i_R5_mean"] == 5
    assert read["folds"].tolist() == [3] * 8


def test_intervals_have_columns_where_there_are_any_and_figures_that_a_row_lacks_are_empty(tidy):
    rows = tidy({"a": [1, 2, 3, 4, 5, 6, 21]}, std=None)
    rows = rows.assign(low=rows["mean"] - 0.5, high=rows["mean"] + 0.25)
    rows = rows[~((rows["row"] == "chance") & (rows["metric"] == "R5"))]
    wide = wide_rows(rows).set_index("row")
    assert wide.loc["a", "i2t_R1_low"] == pytest.approx(0.5)
    assert wide.loc["a", "Rsum_high"] == pytest.approx(21.25)
    assert pd.isna(wide.loc["a", "Rsum_std"])
    assert wide.loc["chance", ["i2t_R5_mean", "t2i_R5_high"]].isna().all()
