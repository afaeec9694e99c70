"""A table's page in a terminal: every cell of it, in lines that fit."""

from __future__ import annotations

import pytest

from lile.errors import InputError
from lile.reporting.markdown import pipe_table
from lile.reporting.show import WIDTH, plain, render_for_terminal

HEADER = ["", *(f"{side} R@{depth}" for side in ("text", "image") for depth in (1, 5, 10)), "R@sum"]
ROWS = ["chance", "ceiling", "CLIP zero-shot (published)", "lile_scaled (ours, scaled)"]
CELLS = {(row, head): f"{10 * x + y}.5 ± 1.5" for x, row in enumerate(ROWS) for y, head in enumerate(HEADER[1:])}


def page() -> str:
    table = pipe_table(HEADER, [[row, *(CELLS[row, head] for head in HEADER[1:])] for row in ROWS])
    blocks = ["# Table demo", f"- Dataset: **demo**. {'It is long and tedious. ' * 12}", "> **SYNTHETIC DATA.** None."]
    return "\n\n".join([*blocks, "## Own captions", table, "## Same group", table]) + "\n"


def cells_of(block: str) -> dict[tuple[str, str], str]:
    """Every cell of the pipe tables in a text, by row and heading."""
    cells = {}
    for table in (part for part in block.split("\n\n") if part.startswith("|")):
        header, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines())
        cells |= {(row[0], head): cell for row in rows for head, cell in zip(header[1:], row[1:], strict=True)}
    return cells


@pytest.mark.parametrize("width", [80, 100, 160])
def test_whole_tables_fit_whatever_the_width(tmp_path, monkeypatch, width):
    (tmp_path / "demo.md").write_text(page(), encoding="utf-8")
    monkeypatch.setenv("COLUMNS", str(width))
    shown = render_for_terminal(tmp_path / "demo.csv").split("\nThe table lies in")[0]
    assert max(len(line) for line in shown.splitlines()) <= width
    head, _, both = shown.partition("Own captions\n============\n\n")
    own, _, group = both.partition("\n\nSame group\n==========\n\n")  # one protocol after the other
    assert cells_of(own) == cells_of(group) == CELLS
    assert "SYNTHETIC DATA. None." in head
    assert "**" not in head
    assert len(own.split("\n\n")) == {80: 3, 100: 2, 160: 1}[width]


def test_recalls_of_text_and_image_are_parted_at_100_columns():
    first, second = [part for part in plain(page(), 100).split("\n\n") if part.startswith("|")][:2]
    assert [cell.strip() for cell in first.splitlines()[0].split("|")[2:-1]] == HEADER[1:4]
    assert [cell.strip() for cell in second.splitlines()[0].split("|")[2:-1]] == HEADER[4:]


def test_bars_in_cells_are_no_borders():
    table = pipe_table(["", "a", "b", "c"], [["x|y", "1|2", "3", "4"]])
    assert plain(table, width=22).split("\n\n") == [
        "|      |    a |\n| :--- | ---: |\n| x\\|y | 1\\|2 |",
        "|      |   b |   c |\n| :--- | --: | --: |\n| x\\|y |   3 |   4 |\n",
    ]


def test_a_table_that_cannot_fit_stays_whole_and_a_log_has_its_own_width(tmp_path, monkeypatch):
    table = pipe_table(["", "a"], [["x" * 50, "1"]])
    assert plain(table, width=20) == table + "\n"
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("sys.__stdout__", None)
    (tmp_path / "demo.md").write_text(page(), encoding="utf-8")
    assert max(len(line) for line in render_for_terminal(tmp_path / "demo.md").splitlines()) <= WIDTH


def test_a_table_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match="no table here"):
        render_for_terminal(tmp_path / "demo.csv")
