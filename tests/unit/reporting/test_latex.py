"""The LaTeX of a table: it is balanced, every line has its columns, and the marks are on the right figures."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from lile.reporting.latex import escape, render_latex
from lile.reporting.published import read_published

OURS = {
    "a": [10.0, 20.0, 30.0, 10.0, 20.0, 30.0, 120.0],
    "b_two": [11.0, 20.04, 29.0, 9.0, 21.0, 31.0, 121.0],
    "c": [12.0, 20.01, 28.0, 10.0, 22.0, 30.0, 122.0],
}


def lines_of(page: str) -> dict[str, list[str]]:
    """Row label -> cells of every line that is a row."""
    rows = [line for line in page.splitlines() if line.endswith(r"\\") and not line.startswith(" ")]
    return {cells[0]: cells[1:] for line in rows for cells in [[part.strip() for part in line[:-2].split(" & ")]]}


def check_structure(page: str) -> None:
    opened = re.findall(r"\\begin\{([a-z*]+)\}", page)
    assert sorted(opened) == sorted(re.findall(r"\\end\{([a-z*]+)\}", page))
    bare = page.replace(r"\{", "").replace(r"\}", "")
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0
    assert len(re.findall(r"(?<!\\)\$", page)) % 2 == 0
    for tabular in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", page, re.DOTALL):
        columns, body = len(tabular[0]), tabular[1]
        for line in body.split(r"\\")[:-1]:
            spanned = sum(int(number) - 1 for number in re.findall(r"\\multicolumn\{(\d)\}", line))
            assert len(re.findall(r"(?<!\\)&", line)) + spanned == columns - 1, line
        assert [body.count(rule) for rule in (r"\toprule", r"\bottomrule")] == [1, 1]


def test_one_balanced_environment_for_each_protocol(tidy, spec, project_root):
    published = {"own": read_published(project_root / "config" / "published" / "arch.csv")}
    page = render_latex(spec(), tidy(OURS, protocols=("own", "group")), published)
    check_structure(page)
    assert page.count(r"\begin{tabular}") == 2
    assert page.count(r"CLIP zero-shot$^{\dagger}$") == 1
    assert r"\label{tab:demo-own}" in page


def test_best_is_bold_second_underlined_and_ties_share(tidy, spec):
    rows = lines_of(render_latex(spec(), tidy(OURS), {}))
    assert rows["c"][0] == r"\textbf{12.0 $\pm$ 1.0}"
    assert rows[r"b\_two"][0] == r"\underline{11.0 $\pm$ 1.0}"
    assert rows["a"][0] == r"10.0 $\pm$ 1.0"
    assert [rows[row][1] for row in ("a", r"b\_two", "c")] == [r"\textbf{20.0 $\pm$ 1.0}"] * 3  # as printed
    assert [rows[row][3].split("{")[0] for row in ("a", r"b\_two", "c")] == [r"\textbf", r"\underline", r"\textbf"]
    assert rows["chance"][0] == "0.5"
    assert rows["c"][6] == r"\textbf{122.0 $\pm$ 1.0}"


def test_a_table_of_one_row_marks_nothing_and_one_fold_has_no_spread(tidy, spec):
    page = render_latex(spec(models=("a",), folds=1), tidy({"a": OURS["a"]}, std=None), {})
    assert lines_of(page)["a"][0] == "10.0"
    assert "bold" not in page
    assert "One fold: no spread." in page


def test_published_rows_are_as_printed_and_marked(tidy, spec, project_root):
    published = {"own": read_published(project_root / "config" / "published" / "arch.csv")}
    page = render_latex(spec(), tidy(OURS), published)
    assert lines_of(page)[r"LILE$^{\dagger}$"] == ["44.8", "57.4", "64.4", "36.7", "52.2", "61.7", "317.1 [317.2]"]
    assert "As published, not computed by us (LILE paper, Table 2 (ARCH))" in page
    other = render_latex(spec(kind="pairs", dataset="mine"), tidy(OURS), published)
    assert r"LILE$^{\ddagger}$" in other
    assert r"\textbf{other data} (arch)" in other
    assert r"$^{\dagger}$" not in other


def test_synthetic_data_are_said_loudly_in_every_caption(tidy, spec):
    page = render_latex(spec(kind="synthetic"), tidy(OURS, protocols=("own", "group")), {})
    assert page.count(r"\caption{\textbf{SYNTHETIC DATA") == 2
    assert "SYNTHETIC" not in render_latex(spec(), tidy(OURS), {})


def test_random_weights_are_said_in_the_caption(tidy, spec):
    rows = tidy(OURS)
    rows["note"] = ["image encoder starts from RANDOM weights" if row == "b_two" else "" for row in rows["row"]]
    assert r"\textbf{Encoders with random weights}: b\_two." in render_latex(spec(), rows, {})
    assert "random weights" not in render_latex(spec(), tidy(OURS), {})


def test_letters_of_tests_stand_beside_the_sum(tidy, spec):
    rows = tidy(OURS)
    rows = rows.assign(letters=[{"c": "a", "b_two": "ab"}.get(row, "") for row in rows["row"]])
    page = render_latex(spec(), rows, {})
    assert lines_of(page)["c"][6] == r"\textbf{122.0 $\pm$ 1.0}\textsuperscript{a}"
    assert "textsuperscript" not in lines_of(page)["a"][6]
    assert "Rows that share a letter" in page


def test_runs_on_a_split_and_seeds_are_said(tidy, spec):
    assert "over 3 runs on one split." in render_latex(spec(by="split"), tidy(OURS), {})
    assert "over 3 folds of a cross-validation with 2 seeds each." in render_latex(spec(seeds=2), tidy(OURS), {})


def test_nothing_in_a_name_is_a_command():
    assert escape(r"a_b & 50% $x$ {y} #1 ~ ^ \z <>") == (
        r"a\_b \& 50\% \$x\$ \{y\} \#1 \textasciitilde{} \textasciicircum{} \textbackslash{}z \textless{}\textgreater{}"
    )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_it_compiles(tidy, spec, project_root, tmp_path):
    published = {"own": read_published(project_root / "config" / "published" / "arch.csv")}
    page = render_latex(spec(kind="synthetic"), tidy(OURS), published)
    document = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{page}\\end{{document}}\n"
    (tmp_path / "page.tex").write_text(document, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "page.tex"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stdout[-2000:]
