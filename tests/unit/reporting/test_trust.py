"""What a table says of how far its figures can be trusted: intervals, tests, letters, seeds."""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Iterator

import numpy as np
import pytest
from made_up_table import change, make, pick, write_run

from lile.errors import InputError
from lile.evaluation.metrics import write_ranks
from lile.reporting.paired import TEST_COLUMNS

TESTED = (("both", "Rsum"), ("i2t", "R1"), ("t2i", "R1"))


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lile.reporting.table._draw", lambda *_: None)


@pytest.fixture
def three(results):
    """The two models and a third that is hardly worse than the first."""
    for fold in range(3):
        write_run(results / "demo" / "lile_third" / f"fold-{fold}", "lile_third", fold, "scaled", 0.78)
    return results


def blocks(page: str) -> Iterator[list[dict[str, str]]]:
    """Yield the page's tables as rows by heading; the first column's heading is empty."""
    for part in page.split("\n\n"):
        if part.startswith("|"):
            header, _, *lines = ([cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines())
            yield [dict(zip(header, line, strict=True)) for line in lines]


def read_tests(results) -> list[dict[str, str]]:
    with (results / "tables" / "demo.tests.csv").open(encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle)
        assert tuple(reader.fieldnames or ()) == TEST_COLUMNS
        return list(reader)


def test_every_figure_that_is_a_mean_over_queries_has_an_interval(results):
    rows, _ = make(results)
    for row in rows:
        if row["source"] == "ours" and row["metric"] not in ("MedR", "MeanR"):
            assert float(row["low"]) <= float(row["mean"]) + 1e-6
            assert float(row["high"]) >= float(row["mean"]) - 1e-6
            assert float(row["low"]) < float(row["high"]) or float(row["mean"]) == 100
        else:
            assert (row["low"], row["high"]) == ("", "")


def test_published_rows_have_no_interval_even_under_our_name(results, project_root, tmp_path):
    published = (project_root / "config" / "published" / "arch.csv").read_text(encoding="utf-8")
    (tmp_path / "arch.csv").write_text(published.replace("arch,LILE,", "arch,lile,"), encoding="utf-8")
    rows, page = make(results, kind="arch", published=str(tmp_path / "arch.csv"))
    theirs = pick(rows, row="lile", source="published")
    assert len(theirs) == 7
    assert {(row["low"], row["letters"]) for row in theirs} == {("", "")}
    own = next(blocks(page))
    assert [row["95 % interval"] for row in own if "ours" not in row[""]] == ["-"] * 6


def test_the_page_shows_the_interval_and_letters_of_rsum_and_says_how_they_were_made(three):
    models = ["lile_paper", "lile", "lile_third"]
    rows, page = make(three, models=models)
    own, ranks, group, _ = blocks(page)
    for block, protocol in ((own, "own"), (group, "group")):
        for line, model in zip(block[2:], models, strict=True):
            (total,) = pick(rows, row=model, protocol=protocol, metric="Rsum")
            assert line["95 % interval"] == f"{float(total['low']):.1f} to {float(total['high']):.1f}"
    assert [line["letters"] for line in own] == ["-", "-", "b", "a", "a"]
    assert "letters" not in group[0]
    assert "percentile bootstrap, 2,000 draws of whole groups within each fold" in page
    assert "rows that share one do not differ in R@sum at 0.05" in page
    assert "averaging" not in page
    assert ranks[0]["text mAP"] != "-"
    assert (ranks[1]["text mAP"], ranks[1]["image R-prec."]) == ("-", "-")  # no ceiling of precisions is known
    (cell,) = pick(rows, row="lile", protocol="own", direction="t2i", metric="mAP")
    assert ranks[3]["image mAP"] == f"{float(cell['mean']):.1f} ± {float(cell['std']):.1f}"


def test_the_tests_file_goes_with_the_table(three):
    rows, _ = make(three, models=["lile_paper", "lile", "lile_third"])
    tests = read_tests(three)
    pairs = [("lile_paper", "lile"), ("lile_paper", "lile_third"), ("lile", "lile_third")]
    assert [(row["direction"], row["metric"], row["row_a"], row["row_b"]) for row in tests] == [
        (*figure, *pair) for figure in TESTED for pair in pairs
    ]
    for row in tests:
        a, b = (
            pick(rows, row=row[name], protocol="own", direction=row["direction"], metric=row["metric"])[0]
            for name in ("row_a", "row_b")
        )
        assert float(row["difference"]) == pytest.approx(float(a["mean"]) - float(b["mean"]), abs=1e-5)
        assert float(row["p"]) <= float(row["p_holm"])
        assert bool(set(a["letters"]) & set(b["letters"])) == (float(row["p_holm"]) >= 0.05)
    lettered = {(row["row"], row["direction"], row["metric"]) for row in rows if row["letters"]}
    assert lettered == {(model, *figure) for model in ("lile", "lile_paper", "lile_third") for figure in TESTED}


def test_one_row_has_nothing_to_be_tested_against(results):
    rows, page = make(results, models=["lile"])
    assert read_tests(results) == []
    assert not any(row["letters"] for row in rows)
    assert "Letters" not in page


def test_seeds_are_averaged_within_folds_and_their_spread_stands_apart(results):
    for run in range(3, 6):
        for model, preset, quality in (("lile", "scaled", 0.8), ("lile_paper", "paper", 0.3)):
            write_run(results / "demo" / model / f"fold-{run}", model, run, preset, quality)
    rows, page = make(results, seeds=2)
    with (results / "tables" / "demo.folds.csv").open(encoding="utf-8", newline="") as handle:
        folds = list(csv.DictReader(handle))
    for model in ("lile", "lile_paper"):
        for way, metric in (("both", "Rsum"), ("i2t", "R1"), ("t2i", "MedR"), ("i2t", "mAP")):
            wanted = {"protocol": "own", "direction": way, "metric": metric}
            (row,) = pick(rows, row=model, **wanted)
            values = {(cell["fold"], cell["seed"]): float(cell["value"]) for cell in pick(folds, model=model, **wanted)}
            assert len(values) == 6
            by_fold = [[values[str(fold), str(seed)] for seed in range(2)] for fold in range(3)]
            means = [statistics.mean(seeds) for seeds in by_fold]
            assert float(row["mean"]) == pytest.approx(statistics.mean(means), abs=1e-5)
            assert float(row["std"]) == pytest.approx(statistics.stdev(means), abs=1e-5)
            spread = statistics.mean(statistics.stdev(seeds) for seeds in by_fold)
            assert float(row["std_seeds"]) == pytest.approx(spread, abs=1e-5)
            assert row["folds"] == "3"
            assert "trained with 2 seeds" in row["note"]
    assert "3 folds of a cross-validation" in page
    assert "together 123 images and 246 texts" in page  # each once, though tested twice
    assert "each fold the mean of 2 seeds" in page
    assert "after averaging the runs on the same queries" in page
    assert {row["groups"] for row in read_tests(results)} == {"21"}


def test_without_seeds_their_spread_is_empty(results):
    rows, page = make(results)
    assert {row["std_seeds"] for row in rows} == {""}
    assert "seeds" not in page


def test_results_of_older_versions_say_to_evaluate_again(results):
    path = results / "demo" / "lile" / "fold-1" / "ranks.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name != "image_groups"}
    write_ranks(path, arrays)
    with pytest.raises(InputError, match=r"fold-1/ranks.npz: lacks image_groups: .* Evaluate this fold again"):
        make(results)
    assert not (results / "tables").exists()


def test_figures_within_blocks_have_no_interval(results):
    for path in results.glob("demo/*/fold-*/metrics.json"):
        own = json.loads(path.read_text(encoding="utf-8"))["protocols"]["own"]
        change(path, "protocols", "own_blocks", value=own)
    rows, page = make(results)
    assert {row["low"] for row in pick(rows, protocol="own_blocks")} == {""}
    assert ["95 % interval" in block[0] for block in blocks(page)] == [True, False, False, False, True, False]
