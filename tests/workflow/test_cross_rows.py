"""A cross-encoder's row is planned after the row it re-ranks, and runs again for what it reads alone."""

from __future__ import annotations

import pytest
import yaml

TARGET = ["results/tables/demo.csv"]
OVERLAY = {
    "datasets": {"demo": {"folds": {"count": 2}}},
    "models": {
        "oscar": {
            "kind": "cross_encoder",
            "shortlist": {"model": "lile_demo"},
            "weights": "some/bert",
            "tags": "tags.csv",
        }
    },
    "tables": {"demo": {"models": ["oscar"]}},
}
CONFIGS = ["--configfile", "cross.yaml", "edit.yaml"]

EVALUATE = {"evaluate_cross_fold demo", "track demo", "table demo"}
TRAIN = EVALUATE | {"train_cross_fold demo"}
BASE = TRAIN | {"train_fold demo"}


@pytest.fixture(scope="module")
def finished(project):
    (project.root / "cross.yaml").write_text(yaml.safe_dump(OVERLAY))
    (project.root / "edit.yaml").write_text("{}\n")
    (project.root / "tags.csv").write_text("image_id,tags\n")
    project.finish(TARGET, *CONFIGS)
    return project


def test_a_row_needs_the_other_rows_weights_and_not_its_evaluation(project, finished):
    jobs = [rule for rule, _ in project.jobs(TARGET, "--forceall", *CONFIGS)]
    assert jobs.count("train_fold") == jobs.count("train_cross_fold") == jobs.count("evaluate_cross_fold") == 2
    assert "evaluate_fold" not in jobs
    assert jobs.count("image_tokens") == jobs.count("text_tokens") == 1
    assert project.plan(TARGET, *CONFIGS) == set()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("src/lile/cross/rescore.py", TRAIN),
        ("src/lile/cross/evaluate.py", EVALUATE),
        ("src/lile/cross/loop.py", TRAIN),
        ("src/lile/training/loop.py", BASE),
        ("src/lile/evaluation/trec.py", EVALUATE),
    ],
)
def test_code(finished, path, expected):
    with finished.edited(path, "", "\nEDITED = 1\n"):
        assert finished.plan(TARGET, *CONFIGS) == expected


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        ({"models": {"oscar": {"shortlist": {"top": 3}}}}, TRAIN),
        ({"models": {"oscar": {"max_words": 9}}}, TRAIN),
        ({"models": {"lile_demo": {"loss": {"margin": 0.3}}}}, BASE),
        ({"datasets": {"demo": {"evaluation": {"trec_depth": 7}}}}, EVALUATE),
        ({"models": {"lile_paper": {"loss": {"margin": 0.3}}}}, set()),
    ],
)
def test_config(finished, edit, expected):
    with finished.edited("edit.yaml", "{}\n", yaml.safe_dump(edit)):
        assert finished.plan(TARGET, *CONFIGS) == expected


def test_other_tags(finished):
    with finished.edited("tags.csv", "", "i0,gland\n"):
        assert finished.plan(TARGET, *CONFIGS) == TRAIN
