"""A page calls our rows by their labels; files, and the papers' rows, keep their names."""

from __future__ import annotations

import pandas as pd
from made_up_table import make

from lile.reporting.spec import TableSpec


def test_labels_are_of_our_rows_alone():
    spec = TableSpec.from_config(
        {
            "table": "arch_steps",
            "dataset": "arch",
            "kind": "arch",
            "models": ["lile", "lile__steps_1"],
            "labels": {"lile": "K = 2"},
            "folds": 5,
            "by": "cross_validation",
        }
    )
    rows = pd.DataFrame(
        [("chance", "chance"), ("lile", "published"), ("lile", "ours"), ("lile__steps_1", "ours")],
        columns=["row", "source"],
    )
    shown = spec.labelled(rows)
    assert shown["row"].tolist() == ["chance", "lile", "K = 2", "lile__steps_1"]
    assert rows["row"].tolist() == ["chance", "lile", "lile", "lile__steps_1"], "the tidy rows are left as they are"


def test_the_page_and_the_latex_say_the_label_and_whose_it_is(results):
    rows, page = make(results, labels={"lile": "K = 2"}, vary="steps", values={"lile": 2, "lile_paper": 1})
    assert "| K = 2 (ours, scaled)" in page
    assert "| lile (ours" not in page
    assert "**K = 2** (`lile`)" in page
    assert "K = 2" in (results / "tables" / "demo.tex").read_text(encoding="utf-8")
    assert {row["row"] for row in rows if row["source"] == "ours"} == {"lile", "lile_paper"}
