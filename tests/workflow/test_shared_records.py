"""A second dataset on the data of a first: its table reads and extracts nothing again."""

from __future__ import annotations

OVERLAY = """\
datasets:
  demo: {folds: {count: 2}}
  plain: {same_data_as: demo, folds: {group_by: image, near_duplicates: together}}
tables:
  plain: {dataset: plain, models: [lile_demo]}
"""
OWN = {f"{rule} plain" for rule in ("make_folds", "leaks", "train_fold", "evaluate_fold", "track", "table")}
SHARED = {
    f"{rule} demo"
    for rule in ("check", "read_synthetic", "describe", "duplicates", "image_tokens", "text_tokens", "caption_lengths")
}


def test_only_folds_and_what_follows_are_planned(project):
    (project.root / "plain.yaml").write_text(OVERLAY)
    config, first, second = ["--configfile", "plain.yaml"], ["results/tables/demo.csv"], ["results/tables/plain.csv"]
    assert project.plan(second, *config) == SHARED | OWN
    project.finish(first, *config)
    assert project.plan(second, *config) == OWN
    project.finish(second, *config)
    assert project.plan([*first, *second], *config) == set()
    (project.root / "plain.yaml").write_text(OVERLAY.replace("together", "apart"))
    assert project.plan([*first, *second], *config) == OWN
