"""What `lile check` says of published regions: counts from headers alone, and what would stop the work later."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lile.checks.findings import Check
from lile.checks.run import check_dataset
from lile.config import prepare

COUNTS = {"train": 6, "dev": 2, "test": 4}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the field, whose rows of train stand once, the others five times; and a TSV file."""
    (tmp_path / "f30k").mkdir()
    for word, count in COUNTS.items():
        rows = np.ones((count, 3, 7), np.float32)
        np.save(tmp_path / "f30k" / f"{word}_ims.npy", rows if word == "train" else np.repeat(rows, 5, axis=0))
        (tmp_path / "f30k" / f"{word}_caps.txt").write_text("A caption.\n" * 5 * count)
    write_lines(tmp_path / "a.tsv", 7)
    (tmp_path / "roberta").mkdir()
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / "roberta" / name).write_text("{}")
    return tmp_path


def write_lines(path: Path, width: int) -> None:
    cells = [base64.b64encode(np.ones(shape, "<f4").tobytes()).decode() for shape in ((10, 4), (10, width))]
    path.write_text("\t".join(["42", "640", "480", "10", *cells]) + "\n")


def found(folder: Path, dataset: dict[str, Any] | None = None, encoder: str = "rows") -> dict[str, Check]:
    config = prepare(
        {
            "datasets": {
                "f30k": {"kind": "precomputed", "root": "f30k", "encoders": {"image": encoder, "text": "read"}}
                | (dataset or {})
            },
            "encoders": {
                "rows": {"modality": "image", "library": "npy"},
                "lines": {"modality": "image", "library": "bottom_up", "files": ["a.tsv"]},
                "more": {"modality": "image", "library": "bottom_up", "files": ["a.tsv", "b.tsv"]},
                "read": {"modality": "text", "weights": "random", "config": "roberta"},
            },
            "models": {"plain": {}},
            "tables": {"f30k": {"dataset": "f30k", "models": ["plain"]}},
        }
    )
    return {check.name: check for check in check_dataset(config, "f30k", folder)}


def test_counts_of_a_folder(folder):
    checks = found(folder)
    assert {check.status for name, check in checks.items() if not name.startswith("text")} == {"PASS"}
    assert checks["train regions"].found == "6 images, 30 captions, numbered; train_ims.npy: 6 x 3 x 7 float32"
    assert checks["test regions"].found.startswith("4 images, 5 rows each, 20 captions")
    assert checks["splits"].found == "train 6, validation 2, test 4"


def test_blocks_count_what_a_limit_leaves(folder):
    checks = found(folder, {"limit": 3, "evaluation": {"block_images": 4}})
    assert checks["splits"].found == "train 3, validation 2, test 3"
    assert checks["blocks"].status == "FAIL"


def test_files_that_do_not_fit_fail_before_the_work(folder):
    (folder / "f30k" / "dev_caps.txt").write_text("A caption.\n" * 9)
    check = found(folder)["data"]
    assert check.status == "FAIL"
    assert "dev_caps.txt: 9 lines" in check.found


def test_tsv_files_are_looked_at_and_ids_asked_for(folder):
    check = found(folder, encoder="lines")["image encoder lines"]
    assert check.status == "FAIL"
    assert "numbers, which train, dev, test of f30k lack" in check.found
    for word, count in COUNTS.items():
        (folder / "f30k" / f"{word}_ids.txt").write_text("".join(f"{n}\n" for n in range(count)))
    check = found(folder, encoder="lines")["image encoder lines"]
    assert (check.status, check.found) == ("PASS", "1 TSV file(s) of 0.0 GB, regions of width 7")
    assert "b.tsv: no such file" in found(folder, encoder="more")["image encoder more"].found
    write_lines(folder / "b.tsv", 9)
    assert found(folder, encoder="more")["image encoder more"].found == "files of widths [7, 9]"
