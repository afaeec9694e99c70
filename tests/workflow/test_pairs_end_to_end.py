"""Someone's own pairs for real: a CSV with two bad rows, the check, then every rule up to the table and MLflow."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml
from by_hand import read, run
from PIL import Image

from lile.data.synthetic.draw import draw
from lile.data.synthetic.scene import scene_for

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
TABLE = "results/tables/mine.csv"
COUNT = 60
BROKEN, CAPTIONLESS = 17, 41
OVERLAY = {
    "datasets": {
        "mine": {
            "kind": "pairs",
            "file": "mine/pairs.csv",
            "columns": {"image": "file_name", "group": "figure"},
            "encoders": {"image": "tiny_vit", "text": "tiny_roberta"},
            "folds": {"count": 2},
            "evaluation": {"jobs": 2},
        }
    },
    "models": {"small": {"maps": 2, "width": 16, "steps": 1, "training": {"epochs": 1, "batch_size": 16}}},
    "tables": {"mine": {"dataset": "mine", "models": ["small"]}},
}


def caption(number: int) -> str:
    """One to three sentences, another text for each number."""
    scene = scene_for(0, number)
    sentences = [
        f"Patch {number}, {scene.pattern}.",
        f"Magnified x{scene.magnification}.",
        f'Stained with "{scene.stain}".',
    ]
    return " ".join(sentences[: 1 + number % 3])


@pytest.fixture
def folder(tmp_path) -> Path:
    """A person's folder: mine.yaml, mine/pairs.csv, and images, two of a figure."""
    (tmp_path / "mine" / "patches").mkdir(parents=True)
    with (tmp_path / "mine" / "pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["figure", "file_name", "caption"])
        for number in range(COUNT):
            name = f"patches/{number:02d}.png"
            Image.fromarray(draw(scene_for(0, number), 64)).save(tmp_path / "mine" / name)
            rows.writerow([number // 2, name, "" if number == CAPTIONLESS else caption(number)])
    (tmp_path / "mine" / f"patches/{BROKEN:02d}.png").write_bytes(b"no image at all")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(OVERLAY))
    return tmp_path


@pytest.mark.timeout(1200)
def test_from_a_csv_to_a_table(folder):
    checked = run(folder, "-c", "from lile.cli import app; app()", "check", "mine.yaml")
    assert "FAIL" not in checked

    workflow = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--cores", "2"]
    words = ["-m", "snakemake", *workflow, "--configfile", str(folder / "mine.yaml")]
    run(folder, *words, "--", TABLE)

    reasons = {(row["row"], row["image_id"], row["reason"]) for row in read(folder / "results/mine/data/report.csv")}
    broken, captionless = (f"patches/{number:02d}.png" for number in (BROKEN, CAPTIONLESS))
    # The first line of the file names its columns.
    assert (str(BROKEN + 2), broken, "image_unreadable") in reasons
    assert (str(CAPTIONLESS + 2), captionless, "caption_empty") in reasons
    assert {image for _, image, _ in reasons} == {broken, captionless}
    kept = {row["image_id"] for row in read(folder / "results/mine/data/images.csv")}
    assert kept == {f"patches/{number:02d}.png" for number in range(COUNT)} - {broken, captionless}

    ours = [row for row in read(folder / TABLE) if row["row"] == "small" and row["metric"] == "R10"]
    assert {(row["protocol"], row["direction"]) for row in ours} == {
        (protocol, way) for protocol in ("own", "group") for way in ("i2t", "t2i")
    }
    assert {row["folds"] for row in ours} == {"2"}
    assert all(0 < float(row["mean"]) <= 100 for row in ours)

    receipt = json.loads((folder / "results/mine/small/mlflow.json").read_text())
    assert set(receipt["child_run_ids"]) == {"0", "1"}
    assert receipt["uri"].endswith("results/mlflow/mlflow.db")
    assert not receipt["pending"]

    assert "Nothing to be done" in run(folder, *words, "--dry-run", "--", TABLE)

    outputs = [folder / f"results/mine/small/fold-{k}/{name}" for k in (0, 1) for name in ("metrics.json", "ranks.npz")]
    shared = [path.read_bytes() for path in outputs]
    (folder / "one.yaml").write_text("datasets: {mine: {evaluation: {jobs: 1}}}\n")
    said = run(folder, *words, str(folder / "one.yaml"), "--until", "evaluate_fold", "--", TABLE)
    assert "rule evaluate_fold" in said
    assert "rule score_blocks" not in said
    assert [path.read_bytes() for path in outputs] == shared, "scored by two jobs or by one"
    assert not [path for path in (folder / "work").rglob("*") if path.is_file()]
