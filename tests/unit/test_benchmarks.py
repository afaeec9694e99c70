"""The benchmark: every section runs at a tiny size, and what it writes has the shape it should. No figure is tested."""

from __future__ import annotations

import math
import os
import sys

import pandas as pd
import pytest
from PIL import Image

MIB = 1 << 20
MACHINE = ["cpu", "cores", "threads", "memory_gib", "gpu", "torch", "compiler", "engine", "commit", "date"]


@pytest.fixture(autouse=True)
def found_from_the_root(monkeypatch, project_root):
    monkeypatch.syspath_prepend(str(project_root))
    monkeypatch.chdir(project_root)


def measured(name: str, folder) -> pd.DataFrame:
    """Run a section at its tiny size and return its table; the files beside it are checked."""
    from benchmarks import run

    assert run.main([name, "--tiny", "--repeats", "2", "--threads", "1", "--results", str(folder)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.{kind}" for kind in ("csv", "md", "png")]
    table = pd.read_csv(folder / f"{name}.csv")
    assert list(table.columns[-len(MACHINE) :]) == MACHINE
    page = (folder / f"{name}.md").read_text(encoding="utf-8")
    assert "tiny sizes" in page.splitlines()[0]
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == len(table) + 2
    assert len({row.count("|") for row in rows}) == 1
    assert f"torch {table['torch'][0]}" in page
    with Image.open(folder / f"{name}.png") as picture:
        assert min(picture.size) > 300
    return table


def check_spreads(table: pd.DataFrame) -> None:
    """Every measured number is positive and finite, its lowest at most its median and that at most its highest."""
    measured_columns = [name for name in table.columns if f"{name}_low" in table.columns]
    assert measured_columns
    for name in measured_columns:
        rows = table[table[name].notna()]
        assert (rows[f"{name}_low"] > 0).all(), name
        assert (rows[f"{name}_low"] <= rows[name]).all(), name
        assert (rows[name] <= rows[f"{name}_high"]).all(), name
        assert rows[f"{name}_high"].map(math.isfinite).all(), name


def test_pairs_compares_forms_that_agree(tmp_path):
    table = measured("pairs", tmp_path)
    check_spreads(table)
    assert set(table["form"]) == {"engine", "plain PyTorch", "direct", "direct, last gate too"}
    assert (table["off"] < 1e-5).all()
    assert table.loc[table["form"] != "direct", "times_direct"].notna().all()
    assert table.loc[table["form"] == "direct", "times_direct"].isna().all()


def test_a_ratio_compares_within_a_round():
    from benchmarks.harness import Spread, ratios

    assert ratios([2.0, 30.0, 8.0], [1.0, 10.0, 2.0]) == Spread(3.0, 2.0, 4.0)


def test_forms_take_turns():
    from benchmarks.harness import by_turns

    calls: list[str] = []
    seconds = by_turns({name: lambda name=name: calls.append(name) for name in "ab"}, 3)
    assert calls == ["a", "b"] * 3
    assert [len(seconds[name]) for name in "ab"] == [3, 3]


def test_an_unknown_section_is_refused(capsys):
    from benchmarks import run

    with pytest.raises(SystemExit):
        run.main(["pears"])
    assert "pears" in capsys.readouterr().err


def test_a_failed_plot_leaves_the_old_one(tmp_path):
    from benchmarks import report
    from benchmarks.harness import Result

    (tmp_path / "x.png").write_bytes(b"old")

    def fails(figure, rows):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        report.write(tmp_path, "x", Result("X", "about", [{"a": 1}], fails), {"cpu": "one"})
    assert (tmp_path / "x.png").read_bytes() == b"old"
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]


@pytest.mark.parametrize(
    ("value", "text"), [(12345.6, "12,346"), (1.234, "1.23"), (3e-7, "3.0e-07"), (5, "5"), (None, "")]
)
def test_numbers_are_shown_with_three_digits(value, text):
    from benchmarks.report import shown

    assert shown(value) == text


def test_training_compares_time_and_memory_at_one_batch(tmp_path):
    table = measured("training", tmp_path)
    check_spreads(table)
    compared = table[table["times_faster"].notna()]
    assert list(compared["loss"]) == ["hardest", "mean"]
    assert set(table.loc[table["form"] == "direct", "batch"]) == set(compared["batch"])


def test_a_child_reports_its_own_step():
    from benchmarks.child import in_child
    from benchmarks.harness import Options

    asked = {"form": "engine", "shape": [2, 8, 1], "batch": 3, "loss": "mean"}
    found = in_child("benchmarks.training", "step", Options(threads=1), **asked)
    assert found["seconds"] > 0
    assert 0 < found["bytes"] < 100 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux' high-water mark")
def test_a_peak_counts_what_was_held_and_freed_since_its_start():
    from benchmarks.child import Peak

    before = bytearray(b"x") * (300 * MIB)
    del before
    peak = Peak()
    held = bytearray(b"x") * (50 * MIB)
    del held
    assert 49 * MIB < peak.bytes() < 80 * MIB


def test_size_measures_an_evaluation_at_growing_sizes(tmp_path):
    table = measured("size", tmp_path)
    check_spreads(table)
    assert table["pairs"].is_monotonic_increasing
    assert table["rate"].iloc[-1] == table["memory"].iloc[-1] == 1


def test_fold_compares_an_evaluation_with_the_direct_form(tmp_path):
    table = measured("fold", tmp_path)
    check_spreads(table)
    assert table["scored_pairs"].tolist() == [72, 192]
    assert (table["of_them_scoring"] <= table["minutes"]).all()
    assert "Extrapolated" in (tmp_path / "fold.md").read_text(encoding="utf-8")


def test_bfloat16_says_what_it_does_to_scores_and_recalls(tmp_path):
    table = measured("bfloat16", tmp_path).set_index("form")
    check_spreads(table)
    assert table.loc["engine", "off"] == 0
    assert 1e-4 < table.loc["engine, maps rounded", "off"] < 0.5
    assert table[["R1", "R5", "R10"]].apply(lambda column: column.between(0, 100)).all().all()
    assert (table["R1"] <= table["R10"]).all()


def test_store_compares_ways_of_keeping_tokens(tmp_path):
    table = measured("store", tmp_path).set_index("kept_by")
    check_spreads(table)
    assert {"np.memmap", "LILE", "LILE, in segments", "h5py, lzf"} <= set(table.index)
    assert table.loc["np.memmap", ["cold,_of_memmap", "warm,_of_memmap"]].tolist() == [1, 1]


def test_memory_reads_an_epoch_of_growing_stores(tmp_path):
    table = measured("memory", tmp_path)
    assert table["images"].is_monotonic_increasing
    assert (table["captions"] == 5 * table["images"]).all()
    assert (table["opened_MiB"] <= table["reading_MiB"]).all()
    assert (table["reading_MiB"] <= table["training_MiB"]).all()


def test_features_compares_extraction_with_its_bare_stem(tmp_path):
    table = measured("features", tmp_path)
    check_spreads(table)
    assert (table["of_bare_high"] * table["bare_images/s_high"] >= table["extraction_images/s_low"]).all()


def test_epoch_compares_steps_that_begin_with_the_same_loss(tmp_path):
    table = measured("epoch", tmp_path)
    check_spreads(table)
    assert table["times_faster"].notna().all()


def test_gpu_is_left_out_without_one_and_says_so(tmp_path, capsys, monkeypatch):
    from benchmarks import run

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert run.main(["gpu", "--tiny", "--results", str(tmp_path)]) == 0
    assert "gpu: left out, because there is no CUDA device" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_gpu_rows_hold_the_roofline_and_what_the_forms_differ_by(monkeypatch, tmp_path):
    """On the CPU, with the engine's cross terms in the place of the kernel's."""
    from benchmarks import gpu, report
    from benchmarks.harness import Options, Result

    from lile.matching.backend import cross_scores
    from lile.matching.roofline import H200

    monkeypatch.setattr(gpu, "cross_scores_fused", lambda matcher, v, w, precision: cross_scores(matcher, v, w))
    rows = gpu.measured_on("cpu", (20, 40), (4, 32), Options(threads=1, tiny=True, repeats=2), H200)
    report.write(tmp_path, "gpu", Result("GPU", "about", rows, gpu.draw), {"cpu": "one"})
    table = pd.read_csv(tmp_path / "gpu.csv")
    check_spreads(table)
    fused = table[table["what"].str.startswith("scores, fused")]
    assert len(fused) == 4
    assert fused[["roofline_s", "of_roofline", "times_direct"]].notna().all().all()
    assert (table["off"].dropna() < 1e-5).all()
    assert table["what"].str.startswith("training").sum() == 6
