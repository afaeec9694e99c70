"""Tables on published regions plan their own rules, and an edit runs again exactly what reads it."""

from __future__ import annotations

import base64

import numpy as np
import pytest
import yaml

RECORDS = ["read_precomputed", "describe", "duplicates", "make_folds", "leaks", "caption_lengths"]
ROWS = ["train_fold", "evaluate_fold", "track", "table"]
TARGET = ["results/tables/f30k.csv"]
WORDS = ["--configfile", "mine.yaml", "edit.yaml"]
MINE = {
    "datasets": {
        "f30k": {"kind": "precomputed", "root": "f30k", "encoders": {"image": "rows", "text": "tiny_roberta"}}
    },
    "encoders": {
        "rows": {"modality": "image", "library": "npy"},
        "lines": {"modality": "image", "library": "bottom_up", "files": ["a.tsv"]},
    },
    "models": {
        "plain": {"preset": "baseline", "image": {"pooling": "mean"}, "text": {"source": "words", "pooling": "mean"}},
        "boxed": {"maps": 2, "width": 16, "encoders": {"image": "lines"}},
    },
    "tables": {"f30k": {"dataset": "f30k", "models": ["plain", "boxed"]}},
}


def of(*rules: str) -> set[str]:
    return {f"{rule} f30k" for rule in rules}


@pytest.fixture(scope="module")
def finished(project):
    """The project after a finished run of a table on rows of .npy files and on lines of a TSV."""
    root = project.root / "f30k"
    root.mkdir()
    for word in ("train", "dev", "test"):
        np.save(root / f"{word}_ims.npy", np.ones((2, 3, 4), np.float32))
        (root / f"{word}_caps.txt").write_text("A caption.\n" * 10)
    cells = [base64.b64encode(np.ones((1, width), "<f4").tobytes()).decode() for width in (4, 4)]
    (project.root / "a.tsv").write_text("\t".join(["1", "9", "9", "1", *cells]) + "\n")
    (project.root / "mine.yaml").write_text(yaml.safe_dump(MINE))
    (project.root / "edit.yaml").write_text("{}\n")
    planned = project.plan(TARGET, *WORDS)
    assert planned == of("check", "npy_tokens", "tsv_tokens", "text_tokens", *RECORDS, *ROWS)
    project.finish(TARGET, *WORDS)
    return project


EDITS = {
    "src/lile/data/precomputed.py": of("npy_tokens", "tsv_tokens", "text_tokens", *RECORDS, *ROWS),
    "src/lile/features/npy_regions.py": of("npy_tokens", *ROWS),
    "src/lile/features/bottom_up.py": of("tsv_tokens", *ROWS),
    "src/lile/region_checks.py": set(),
    "src/lile/checks/regions.py": set(),
}
KEYS = {
    "datasets.f30k.limit": (1, EDITS["src/lile/data/precomputed.py"]),
    "datasets.f30k.drop_captions": (["A caption."], EDITS["src/lile/data/precomputed.py"]),
    "datasets.f30k.shards": (2, of("npy_tokens", "tsv_tokens", "text_tokens", *ROWS)),
    "encoders.lines.columns": (
        ["image_id", "image_h", "image_w", "num_boxes", "boxes", "features"],
        of("tsv_tokens", *ROWS),
    ),
}


@pytest.mark.parametrize("name", sorted(EDITS))
def test_edited_code_runs_exactly_what_it_can_reach(finished, name):
    with finished.edited(name, "", "\nEDITED = True\n"):
        assert finished.plan(TARGET, *WORDS) == EDITS[name]


@pytest.mark.parametrize("path", sorted(KEYS))
def test_an_edited_key_runs_exactly_what_reads_it(finished, path):
    value, expected = KEYS[path]
    for key in reversed(path.split(".")):
        value = {key: value}
    with finished.edited("edit.yaml", "{}\n", yaml.safe_dump(value)):
        assert finished.plan(TARGET, *WORDS) == expected


def test_another_file_of_lines_is_seen(finished):
    text = (finished.root / "a.tsv").read_text()
    with finished.edited("a.tsv", "", text):
        assert finished.plan(TARGET, *WORDS) == of("tsv_tokens", *ROWS)
