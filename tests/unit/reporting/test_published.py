"""The papers' figures: the shipped files against the papers' own sums, and files that a person got wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lile.errors import InputError
from lile.reporting.published import PUBLISHED_COLUMNS, published_rows, read_published

HEADER = ",".join(PUBLISHED_COLUMNS)
GOOD = "arch,LILE,44.8,57.4,64.4,36.7,52.2,61.7,317.1,Table 2,"


def test_the_figures_of_the_arch_table(project_root):
    frame = read_published(project_root / "config" / "published" / "arch.csv").set_index("method")
    assert list(frame.index) == ["PVSE", "IMRAM", "CLIP zero-shot", "LILE"]
    assert frame.loc["LILE", ["i2t/R1", "i2t/R5", "i2t/R10", "t2i/R1", "t2i/R5", "t2i/R10"]].tolist() == [
        44.8,
        57.4,
        64.4,
        36.7,
        52.2,
        61.7,
    ]
    assert frame.loc["LILE", "Rsum_printed"] == 317.1
    assert frame.loc["LILE", "Rsum_of_recalls"] == pytest.approx(317.2)
    assert set(frame["dataset"]) == {"arch"}
    assert frame["Rsum_differs"].tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("name", "methods", "differing"),
    [("coco_1k", 7, ["OSCAR (fine-tuned)"]), ("coco_5k", 9, []), ("steps", 4, []), ("arch", 4, ["LILE"])],
)
def test_only_the_known_sums_differ_from_what_was_printed(project_root, name, methods, differing):
    frame = read_published(project_root / "config" / "published" / f"{name}.csv")
    assert len(frame) == methods
    assert set(frame["dataset"]) == {"arch" if name == "arch" else "coco"}
    assert frame.loc[frame["Rsum_differs"], "method"].tolist() == differing


def test_the_table_of_steps_says_that_it_is_another_experiment(project_root):
    steps = read_published(project_root / "config" / "published" / "steps.csv")
    one_k = read_published(project_root / "config" / "published" / "coco_1k.csv").set_index("method")
    assert (steps["Rsum_printed"] > one_k.loc["LILE", "Rsum_printed"]).all()
    assert steps["note"].str.contains("not the same experiment").all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER.replace("i2t/R5", "R5") + "\n" + GOOD, "columns are"),
        (HEADER + "\n", "no row"),
        (f"{HEADER}\n{GOOD}\n{GOOD}", "line 3: method 'LILE' is there twice"),
        (f"{HEADER}\n{GOOD.replace('57.4', '5x')}", "line 2, i2t/R5: '5x' is not a number"),
        (f"{HEADER}\n{GOOD.replace('57.4', 'nan')}", "not from 0 to 100"),
        (f"{HEADER}\n{GOOD.replace('64.4', '104.4')}", "not from 0 to 100"),
        (f"{HEADER}\n{GOOD.replace('317.1', '617.1')}", "not from 0 to 600"),
        (f"{HEADER}\n{GOOD.replace('57.4', '37.4')}", "fall with depth"),
        (f"{HEADER}\n{GOOD.replace('LILE', ' ')}", "method is empty"),
        (f"{HEADER}\n{GOOD.replace('Table 2', '')}", "source is empty"),
        (f"{HEADER}\n{GOOD.replace('arch', '')}", "dataset is empty"),
        (f"{HEADER}\n{GOOD},one,more", "not 11 cells"),
        (f"{HEADER}\nLILE,44.8", "not 11 cells"),
    ],
)
def test_a_file_with_a_mistake_names_the_place(tmp_path, text, message):
    path = tmp_path / "mine.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_published(path)


def test_no_file_and_no_text(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_published(tmp_path / "absent.csv")
    (tmp_path / "bad.csv").write_bytes(b"method\xff\xfe")
    with pytest.raises(InputError, match="UTF-8"):
        read_published(tmp_path / "bad.csv")


def test_rows_are_checked_as_written_and_without_pandas(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(f"{HEADER}\n{GOOD}\n", encoding="utf-8")
    assert [row["i2t/R1"] for row in published_rows(path)] == ["44.8"]
    code = (
        "import sys, pathlib; from lile.reporting.published import published_rows; "
        f"published_rows(pathlib.Path({str(path)!r})); sys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
