"""A table from made-up folds: its figures against pandas-free sums, its words, and what it refuses."""

from __future__ import annotations

import copy
import csv
import json
import math
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from made_up_table import CONFIG, change, made_up_leaks, made_up_metrics, make, pick, write, write_metrics
from PIL import Image

from lile.errors import InputError
from lile.files import sha256_of
from lile.reporting.markdown import pipe_table
from lile.reporting.rows import TABLE_COLUMNS
from lile.reporting.show import render_for_terminal
from lile.reporting.table import SUFFIXES, write_table


@pytest.fixture(autouse=True)
def without_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures out where they are not asked for: they have tests of their own, and take their time."""
    if "drawn" not in request.node.name:
        monkeypatch.setattr("lile.reporting.table._draw", lambda *_: None)


def test_means_and_sample_deviations_equal_the_folds_own(results):
    rows, page = make(results)
    for model in ("lile", "lile_paper"):
        for protocol in ("own", "group"):
            values = [
                json.loads((results / "demo" / model / f"fold-{k}" / "metrics.json").read_text())["protocols"][protocol]
                for k in range(3)
            ]
            for way, name in [("i2t", "R1"), ("t2i", "R10"), ("i2t", "MedR"), ("both", "Rsum")]:
                figures = [value["Rsum"] if way == "both" else value[way][name] for value in values]
                (row,) = pick(rows, row=model, protocol=protocol, direction=way, metric=name)
                assert float(row["mean"]) == pytest.approx(statistics.mean(figures), abs=1e-5)
                assert float(row["std"]) == pytest.approx(statistics.stdev(figures), abs=1e-5)
                assert row["folds"] == "3"
                assert f"{statistics.mean(figures):.1f} ± {statistics.stdev(figures):.1f}" in page
    assert tuple(rows[0]) == TABLE_COLUMNS
    assert len(rows) == 2 * (3 * 15 + 11)  # protocols x figures of chance, two models, and the ceiling (no precision)


def test_chance_stands_beside_every_figure(results):
    rows, page = make(results)
    level = statistics.mean(100 / (40 + fold) for fold in range(3))
    (row,) = pick(rows, row="chance", protocol="own", direction="t2i", metric="R1")
    assert float(row["mean"]) == pytest.approx(level, abs=1e-5)
    (total,) = pick(rows, row="chance", protocol="own", metric="Rsum")
    six = [row for row in pick(rows, row="chance", protocol="own") if row["metric"] in ("R1", "R5", "R10")]
    assert float(total["mean"]) == pytest.approx(sum(float(row["mean"]) for row in six), abs=1e-4)
    assert page.count("| chance") == 4  # recalls and ranks, in both protocols


def test_the_ceiling_stands_beside_chance_and_is_explained(results):
    rows, page = make(results)
    # Five texts of two owners each: five images gain nothing by it, for each has another text; one of two asks in vain.
    levels = [100 * (1 - 5 / (2 * (40 + fold))) for fold in range(3)]
    (row,) = pick(rows, row="ceiling", source="ceiling", protocol="own", direction="t2i", metric="R1")
    assert float(row["mean"]) == pytest.approx(statistics.mean(levels), abs=1e-5)
    assert "the most that any scorer can reach" in row["note"]
    (total,) = pick(rows, row="ceiling", protocol="own", metric="Rsum")
    assert float(total["mean"]) == pytest.approx(500 + statistics.mean(levels), abs=1e-4)
    assert f"no model can pass R@sum {float(total['mean']):.1f} of 600 here" in page
    assert page.count("| ceiling") == 4
    labels = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| c")]
    assert labels == ["chance", "ceiling"] * 4
    for model in ("lile", "lile_paper"):
        for cell in pick(rows, row=model):
            if cell["metric"] in ("mAP", "Rprec"):
                continue  # no exact ceiling is known
            (best,) = pick(rows, row="ceiling", **{key: cell[key] for key in ("protocol", "direction", "metric")})
            low, high = (best, cell) if cell["metric"] in ("MedR", "MeanR") else (cell, best)
            assert float(low["mean"]) <= float(high["mean"])


def test_a_ceiling_that_takes_nothing_says_so(results):
    for path in results.glob("demo/*/fold-*/metrics.json"):
        change(path, "protocols", "own", "ceiling_Rsum", value=600.0)
    assert "Here nothing is lost by it." in make(results)[1]


def test_synthetic_data_and_random_weights_are_said_loudly(results):
    rows, page = make(results)
    assert all("SYNTHETIC" in row["note"] for row in rows)
    assert "**SYNTHETIC DATA.**" in page
    assert "image encoder tiny_vit (**RANDOM weights**)" in page
    assert "text encoder minilm (pretrained)" in page
    assert "RANDOM weights" in pick(rows, row="lile")[0]["note"]
    assert pick(rows, row="lile")[0]["encoders"] == "tiny_vit (random) + minilm (pretrained)"
    assert pick(rows, row="lile")[0]["preset"] == "scaled"
    for path in results.glob("demo/lile/fold-*/run.json"):
        change(path, "encoders", "text", value={"encoder": "words", "origin": "trained here", "vocabulary": 9})
    real, page = make(results, kind="pairs")
    assert "image encoder tiny_vit (**RANDOM weights**), text encoder words (trained here)." in page
    assert "SYNTHETIC" not in page
    assert not any("SYNTHETIC" in row["note"] for row in real)


def test_published_rows_are_marked_and_their_own_sum_is_shown(results, project_root):
    published = str(project_root / "config" / "published" / "arch.csv")
    rows, page = make(results, kind="arch", published=published)
    (total,) = pick(rows, row="LILE", source="published", metric="Rsum")
    assert (total["mean"], total["std"], total["folds"], total["protocol"]) == ("317.1", "", "", "own")
    assert total["note"].startswith("its six recalls sum to 317.2; as printed in: LILE paper, Table 2")
    (line,) = [line for line in page.splitlines() if line.startswith("| LILE (published)")]
    assert "317.1 [317.2]" in line
    (line,) = [line for line in page.splitlines() if line.startswith("| IMRAM (published)")]
    assert "289.0" in line
    assert "[" not in line
    assert not pick(rows, source="published", protocol="group")
    assert "OTHER" not in page
    rows, page = make(results, kind="pairs", published=published)
    assert all("OTHER data than demo" in row["note"] for row in pick(rows, source="published"))
    assert "PVSE, IMRAM, CLIP zero-shot, LILE: measured on OTHER DATA than demo (arch): do not compare" in page
    assert "another ceiling" not in page


def with_blocks(results: Path) -> None:
    """Give every fold a protocol of blocks, which is its own captions one point better."""
    for path in results.glob("demo/*/fold-*/metrics.json"):
        protocols = json.loads(path.read_text(encoding="utf-8"))["protocols"]
        blocks = copy.deepcopy(protocols["own"])
        blocks["Rsum"] += 1.0
        change(path, "protocols", value={"own": protocols["own"], "group": protocols["group"], "own_blocks": blocks})


def test_blocks_of_test_images_are_a_protocol_with_published_figures_of_its_own(results, project_root):
    with_blocks(results)
    files = {name: project_root / "config" / "published" / f"coco_{name}.csv" for name in ("5k", "1k")}
    rows, page = make(results, kind="pairs", published={"own": str(files["5k"]), "own_blocks": str(files["1k"])})
    assert list(dict.fromkeys(row["protocol"] for row in rows)) == ["own", "own_blocks", "group"]
    totals = {row["protocol"]: float(row["mean"]) for row in pick(rows, row="lile", metric="Rsum")}
    assert totals["own_blocks"] == pytest.approx(totals["own"] + 1)
    printed = {row["protocol"]: row["mean"] for row in pick(rows, source="published", row="PVSE", metric="Rsum")}
    assert printed == {"own": "374.4", "own_blocks": "492.8"}
    assert page.count("| PVSE (published)") == 2
    assert page.index("## Own captions\n") < page.index("## Own captions, in blocks") < page.index("## Same group")
    assert page.count("OTHER DATA") == 1
    *_, page = make(results, kind="coco", published={"own": str(files["5k"])})
    assert "OTHER DATA" in page, "a file of COCO's format may hold any data"
    for named in ({"data": "coco"}, {"data": "coco", "kind": "coco"}):  # COCO itself, by name, however it is read
        config = {"kind": "pairs", "published": {"own": str(files["5k"])}, "compare": {"lile": "LILE"}} | named
        rows, page = make(results, **config)
        tex = (results / "tables" / "demo.tex").read_text(encoding="utf-8")
        compared = (results / "tables" / "demo.vs_paper.csv").read_text(encoding="utf-8")
        assert not [
            text for text in (page, tex, compared, *(row["note"] for row in rows)) if "other data" in text.lower()
        ]
    with pytest.raises(InputError, match="'group' is no protocol of published figures"):
        make(results, published={"group": str(files["5k"])})


def test_models_must_have_been_evaluated_under_the_same_protocols(results):
    path = results / "demo" / "lile_paper" / "fold-1" / "metrics.json"
    protocols = json.loads(path.read_text(encoding="utf-8"))["protocols"]
    change(path, "protocols", value={**protocols, "own_blocks": protocols["own"]})
    with pytest.raises(InputError, match="tested on different data"):
        make(results)


def test_one_fold_has_no_spread(results):
    rows, page = make(results, folds=1)
    assert all(row["std"] == "" for row in rows)
    assert "one fold: no spread" in pick(rows, row="lile")[0]["note"]
    assert "One fold: no spread can be given" in page
    assert " ± " not in page


def test_repeats_on_one_split_are_runs(results):
    for model in ("lile", "lile_paper"):
        for fold in range(3):
            folder = results / "demo" / model / f"fold-{fold}"
            content, arrays = made_up_metrics(0, 0.5, seed=fold)
            write_metrics(folder, {**content, "fold": fold}, arrays)
            change(folder / "run.json", "seed", value=fold)
    rows, page = make(results, by="split", kind="pairs")
    assert "3 runs that differ in their training seed" in page
    assert "40 images, 80 texts" in page
    assert "standard deviation over the 3 runs" in page
    assert "runs on one split" in pick(rows, row="lile")[0]["note"]
    assert all(float(row["std"]) == 0 for row in pick(rows, row="chance"))


def test_the_folds_file_is_tidy_and_the_manifest_names_every_input(results):
    make(results)
    with (results / "tables" / "demo.folds.csv").open(encoding="utf-8", newline="") as handle:
        folds = list(csv.DictReader(handle))
    assert list(folds[0]) == ["table", "model", "fold", "seed", "protocol", "direction", "metric", "value"]
    assert len(folds) == 2 * (3 * 15 + 11) * 3
    assert all(math.isfinite(float(row["value"])) for row in folds)
    manifest = json.loads((results / "tables" / "demo.manifest.json").read_text(encoding="utf-8"))
    assert len(manifest["inputs"]) == 2 * 3 * 4 + 1
    path, digest = next(iter(manifest["inputs"].items()))
    assert sha256_of(Path(path)) == digest
    assert manifest["config"] == CONFIG
    assert manifest["command"] == ["table.py", "--out-dir", "tables"]
    assert {"created", "git_commit", "git_dirty", "versions", "table"} <= set(manifest)


def test_folds_by_another_version_of_the_code_are_noted(results):
    change(results / "demo" / "lile" / "fold-2" / "run.json", "code", value="0ther")
    rows, page = make(results)
    assert "trained by 2 versions of the code" in pick(rows, row="lile")[0]["note"]
    assert "Trained by 2 versions of the code" in page


REFUSED = [
    (("run.json", "config", "matching", "reduce"), "sum", "folds 0 and 1 .* differing in matching.reduce"),
    (("run.json", "seed"), 5, "differing in seed"),
    (("run.json", "inputs", "results/demo/data/folds.csv"), "0ther", "content of results/demo/data/folds.csv"),
    (("run.json", "encoders", "text", "weights_digest"), "other", "weights of the text encoder"),
    (("run.json", "model"), "other", "is of model 'other', not 'lile'"),
    (("run.json", "fold"), 0, "is of fold 0, not 1"),
    (("run.json", "encoders"), {"image": {}}, "not image and text"),
    (("metrics.json", "fold"), 2, "is of fold 2, not 1"),
    (("metrics.json", "protocols", "own", "i2t"), {}, "lacks 'R1'"),
    (("metrics.json", "protocols", "own", "Rsum"), None, "not a finite number"),
    (("metrics.json", "protocols", "own", "i2t", "ceiling"), {}, "lacks 'R1'"),
    (("metrics.json", "images"), 7, "tested on different data"),
]


@pytest.mark.parametrize(("keys", "value", "message"), REFUSED)
def test_folds_that_do_not_belong_together_are_refused(results, keys, value, message):
    change(results / "demo" / "lile" / "fold-1" / keys[0], *keys[1:], value=value)
    with pytest.raises(InputError, match=message):
        make(results)
    assert not (results / "tables").exists()


def test_an_ensembles_folds_stand_each_on_its_members_files_of_that_fold(results):
    for fold in range(3):
        path = results / "demo" / "lile" / f"fold-{fold}" / "run.json"
        shared = json.loads(path.read_text(encoding="utf-8"))["inputs"]
        change(path, "inputs", value={**shared, f"results/demo/lile_paper/fold-{fold}/run.json": f"digest {fold}"})
    assert pick(make(results)[0], row="lile")
    change(path, "inputs", value={**shared, "results/demo/lile_paper/fold-0/run.json": "of another fold"})
    with pytest.raises(InputError, match=r"content of results/demo/lile_paper/fold-0/run\.json"):
        make(results)


def test_the_page_says_what_a_row_stands_on(results):
    built = {"lile": {"members": {"a": {}, "b": {}}}, "lile_paper": {"shortlist": {"model": "lile", "top": 20}}}
    for model, config in built.items():
        for fold in range(3):
            path = results / "demo" / model / f"fold-{fold}" / "run.json"
            change(path, "config", value=config)
            change(path, "preset", value="baseline")
    page = make(results)[1]
    assert "**lile**, preset baseline (another model than LILE; the mean of the scores of a and b); image" in page
    assert "**lile_paper**, preset baseline (another model than LILE; scores the best 20 of lile again); image" in page
    assert "`results/demo/<row>/fold-0/run.json`" in page


def test_figures_of_this_and_of_other_data_can_stand_in_one_file(results, project_root, tmp_path):
    here = (project_root / "config" / "published" / "arch.csv").read_text(encoding="utf-8")
    mixed = tmp_path / "coco_mine.csv"  # its name says nothing
    mixed.write_text(here.replace("arch,PVSE", "coco,PVSE"), encoding="utf-8")
    rows, page = make(results, kind="arch", published=str(mixed))
    assert {row["row"] for row in rows if "OTHER data" in row["note"]} == {"PVSE"}
    assert "**PVSE: measured on OTHER DATA than demo (coco)" in page
    assert "another ceiling" in page


def test_missing_folds_are_all_named(results):
    (results / "demo" / "lile" / "fold-1" / "metrics.json").unlink()
    (results / "demo" / "lile_paper" / "fold-2" / "run.json").unlink()
    with pytest.raises(InputError, match=r"2 file\(s\) missing.*fold-1/metrics.json.*fold-2/run.json"):
        make(results)


def test_every_file_of_a_table_is_written_and_its_pictures_drawn(results):
    make(results)
    assert {path.name for path in (results / "tables").iterdir()} == {f"demo.{suffix}" for suffix in SUFFIXES}
    with Image.open(results / "tables" / "demo.curves.png") as picture:
        assert picture.size == (1800, 780)
    for name in ("recall", "similarity"):
        with Image.open(results / "tables" / f"demo.{name}.png") as picture:
            assert picture.width > 800
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 50


def test_ours_are_compared_with_what_they_reproduce(results, project_root):
    published = str(project_root / "config" / "published" / "arch.csv")
    make(results, kind="arch", published=published, compare={"lile_paper": "LILE"})
    with (results / "tables" / "demo.vs_paper.csv").open(encoding="utf-8", newline="") as handle:
        compared = list(csv.DictReader(handle))
    with (results / "tables" / "demo.wide.csv").open(encoding="utf-8", newline="") as handle:
        wide = {(row["row"], row["protocol"]): row for row in csv.DictReader(handle)}
    assert [row["ours"] for row in compared] == [
        wide["lile_paper", "own"][f"{name}_mean"]
        for name in ("i2t_R1", "i2t_R5", "i2t_R10", "t2i_R1", "t2i_R5", "t2i_R10", "Rsum")
    ]
    assert compared[6]["paper"] == "317.1"
    assert "LILE$^{\\dagger}$" in (results / "tables" / "demo.tex").read_text(encoding="utf-8")
    shutil.rmtree(results / "tables")
    with pytest.raises(InputError, match=r"compare.lile_papr: not a row of this table; did you mean lile_paper\?"):
        make(results, kind="arch", published=published, compare={"lile_papr": "LILE"})
    assert not (results / "tables").exists()


def test_a_damaged_file_is_named(results):
    (results / "demo" / "lile" / "fold-1" / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"fold-1/run.json: not JSON"):
        make(results)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"models": []}, "needs a model"),
        ({"folds": 0}, "a fold"),
        ({"seeds": 0}, "a seed"),
        ({"models": ["chance"]}, "called chance"),
        ({"models": ["ceiling"]}, "rename"),
    ],
)
def test_a_table_of_nothing_is_refused(results, changed, message):
    with pytest.raises(InputError, match=message):
        make(results, **changed)
    with pytest.raises(InputError, match=r"lacks \['kind'\]"):
        write_table({key: CONFIG[key] for key in CONFIG if key != "kind"}, results, results, [])


def test_pipe_tables_stay_tables():
    table = pipe_table(["", "a"], [["x|y", "1"], ["z", "1.0 ± 2.0"]])
    assert table.splitlines() == [
        "|      |         a |",
        "| :--- | --------: |",
        "| x\\|y |         1 |",
        "| z    | 1.0 ± 2.0 |",
    ]


def test_the_scripts_write_and_show_a_table(results, project_root, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")  # readline, which pytest loads, sets it behind Python's back
    tables = results / "tables"
    words = ["--config-json", json.dumps(CONFIG), "--results", str(results), "--out-dir", str(tables)]
    script = project_root / "workflow" / "scripts" / "table.py"
    done = subprocess.run([sys.executable, script, *words, "--log", tables / "log"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "lile (ours, scaled)" in done.stderr
    shown = subprocess.run(
        [sys.executable, script.with_name("show_table.py"), tables / "demo.csv"], capture_output=True, text=True
    )
    assert shown.stdout == render_for_terminal(tables / "demo.md")
    assert "SYNTHETIC DATA." in shown.stdout
    assert "**" not in shown.stdout
    assert f"  {tables / 'demo.csv'}\n" in shown.stdout
    (results / "demo" / "lile" / "fold-0" / "run.json").unlink()
    failed = subprocess.run([sys.executable, script, *words], capture_output=True, text=True)
    assert failed.returncode == 1
    assert "fold-0/run.json" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_the_page_says_how_many_test_images_have_a_twin_in_training(results):
    assert "Leaks: no test image has a twin in training" in make(results)[1]
    path = results / "demo" / "data" / "leaks.json"
    write(path, made_up_leaks(any=2, near_image=1, same_text=2, both=1))
    page = make(results)[1]
    assert "**2 of 8 test images (25.0 %) have a twin in training**" in page
    assert "within 32 of 256 bits 1; a text in common 2; picture and text 1." in page
    assert str(path) in json.loads((results / "tables" / "demo.manifest.json").read_text())["inputs"]
    write(path, made_up_leaks(any=3, same_text=3) | {"pictures": False})
    page = make(results)[1]
    assert "**3 of 8 test images (37.5 %) share a text with a training image**" in page
    assert "the data have no pictures to compare" in page
    assert "256 bits" not in page
    write(path, {"test": {}})
    with pytest.raises(InputError, match=r"leaks\.json: not as the rule leaks"):
        make(results)
    path.unlink()
    with pytest.raises(InputError, match=r"leaks\.json: no such file"):
        make(results)
