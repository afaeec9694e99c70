"""For each edit, of code or of the config, exactly the rules that run again."""

from __future__ import annotations

import pytest
import yaml

DATASETS = ("demo", "arch", "mine")
TARGETS = [f"results/tables/{name}.csv" for name in DATASETS]
# Fewer folds and models than shipped: the same rules, planned faster. And a person's own pairs beside the two.
MINE = {
    "kind": "pairs",
    "file": "mine/pairs.csv",
    "columns": {"group": "figure"},
    "encoders": {"image": "tiny_vit", "text": "tiny_roberta"},
    "folds": {"count": 2},
    "evaluation": {"jobs": 2},
}
SMALL = {
    "datasets": {"demo": {"folds": {"count": 2}}, "arch": {"folds": {"count": 2}}, "mine": MINE},
    "models": {"small": {"maps": 2, "width": 16}},
    "tables": {"arch": {"models": ["lile_paper"]}, "mine": {"dataset": "mine", "models": ["small"]}},
}
ROWS = "figure,image,caption\n1,a.png,Glands. Dark nuclei.\n2,b.png,Stroma.\n3,c.png,Necrosis.\n"
CONFIGS = ["--configfile", "small.yaml", "edit.yaml"]

TABLE = ["table"]
TRACK = ["track", *TABLE]
EVALUATE = ["evaluate_fold", *TRACK]
TRAIN = ["train_fold", *EVALUATE]
LEAKS = ["leaks", *TABLE]
DUPLICATES = ["duplicates", *LEAKS]
FOLDS = ["make_folds", *LEAKS, *TRAIN]
IMAGES = ["image_tokens", *TRAIN]
TEXTS = ["text_tokens", *TRAIN]
TOKENS = [*IMAGES, *TEXTS]
LENGTHS = ["caption_lengths", *TABLE]
DESCRIBE = ["describe", *LENGTHS, *TEXTS, *DUPLICATES]
READ = [*FOLDS, *IMAGES, *DESCRIBE]


def of(rules: list[str], *datasets: str) -> set[str]:
    """What runs. The person's own pairs are scored by two jobs, whose files do not outlive the evaluation."""
    planned = {f"{rule} {dataset}" for rule in rules for dataset in datasets or DATASETS}
    return planned | ({"score_blocks mine"} if "evaluate_fold mine" in planned else set())


NOTHING: set[str] = set()
DEMO = of(["read_synthetic", *READ], "demo")
ARCH = of(["read_arch", *READ], "arch")
UNPACK = ARCH | of(["unpack_archive"], "arch")
DOWNLOAD = UNPACK | of(["download_archive"], "arch")
PAIRS = of(["read_pairs", *READ], "mine")

CODE = {
    "src/lile/data/arch.py": ARCH,
    "src/lile/data/synthetic/draw.py": DEMO,
    "src/lile/data/pairs.py": PAIRS,
    "src/lile/data/limit.py": PAIRS,
    "src/lile/data/coco.py": NOTHING,
    "src/lile/data/rows.py": ARCH | PAIRS,
    "src/lile/data/assemble.py": ARCH | PAIRS,
    "src/lile/data/images.py": ARCH | PAIRS | of([*TOKENS, *DUPLICATES]),
    "src/lile/data/records.py": DEMO | ARCH | PAIRS,
    "src/lile/data/archives.py": DOWNLOAD,
    "src/lile/data/fetch.py": DOWNLOAD,
    "src/lile/data/download.py": DOWNLOAD,
    "src/lile/data/unpack.py": UNPACK,
    "src/lile/data/sentences.py": of(DESCRIBE),
    "src/lile/data/folds.py": of(FOLDS),
    "src/lile/data/duplicates.py": of(DUPLICATES),
    "src/lile/data/hamming.py": of(DUPLICATES),
    "src/lile/data/links.py": of([*DUPLICATES, *FOLDS]),
    "src/lile/data/leaks.py": of(LEAKS),
    "src/lile/reporting/leaks.py": of(TABLE),
    "src/lile/features/shard_writer.py": of(TOKENS),
    "src/lile/features/segments.py": of(TOKENS),
    "src/lile/features/shard_reader.py": of(TOKENS),
    "src/lile/features/store.py": of(TRAIN),
    "src/lile/features/mobilenet.py": of(IMAGES),
    "src/lile/features/text_encoder.py": of(TEXTS),
    "src/lile/evaluation/ceiling.py": of(EVALUATE),
    "src/lile/evaluation/precision.py": of(EVALUATE),
    "src/lile/evaluation/trec.py": of(EVALUATE),
    "src/lile/matching/steps.py": of(TRAIN),
    "src/lile/matching/native.cpp": of(TRAIN),
    "src/lile/models/losses.py": of(TRAIN),
    "src/lile/training/loop.py": of(TRAIN),
    "src/lile/lock.py": of(TOKENS),
    "src/lile/evaluation/fold.py": of(EVALUATE),
    "src/lile/evaluation/blocks.py": of(EVALUATE),
    "src/lile/evaluation/stream.py": of(EVALUATE),
    "src/lile/evaluation/ranks.py": of(TRAIN),
    "src/lile/evaluation/relevance.py": of(TRAIN),
    "src/lile/reporting/markdown.py": of(TABLE),
    "src/lile/reporting/caption_lengths.py": of(LENGTHS),
    "src/lile/tracking/replay.py": of(TRACK),
    "src/lile/checks/run.py": NOTHING,
    "src/lile/checks/stores.py": NOTHING,
    "src/lile/cli.py": NOTHING,
    "src/lile/config_checks.py": NOTHING,
    "src/lile/fingerprint.py": NOTHING,
    "src/lile/files.py": DEMO | DOWNLOAD | PAIRS,
    "workflow/scripts/table.py": of(TABLE),
    "workflow/scripts/caption_lengths.py": of(LENGTHS),
    "workflow/scripts/evaluate_fold.py": of(EVALUATE),
    "workflow/scripts/score_blocks.py": of(EVALUATE, "mine"),
    "workflow/scripts/describe.py": of(DESCRIBE),
    "workflow/scripts/duplicates.py": of(DUPLICATES),
    "workflow/scripts/leaks.py": of(LEAKS),
    "workflow/scripts/unpack_archive.py": UNPACK,
    "workflow/scripts/read_pairs.py": PAIRS,
    "workflow/scripts/check.py": NOTHING,
}

CONFIG = {
    "seed": (7, DEMO | of(FOLDS, "arch") | of([*FOLDS, *TOKENS], "mine")),
    "datasets.demo.items": (50, DEMO),
    "datasets.demo.descriptions": ("whole", of(DESCRIBE, "demo")),
    "datasets.demo.folds.validation": (0.2, of(FOLDS, "demo")),
    "datasets.demo.folds.group_by": ("image", of(FOLDS, "demo")),
    "datasets.demo.folds.near_duplicates": ("together", of(FOLDS, "demo")),
    "datasets.demo.folds.seeds": (2, of(FOLDS, "demo")),
    "datasets.demo.near_duplicate_bits": (8, of(DUPLICATES, "demo")),
    "datasets.demo.shards": (2, of(TOKENS, "demo")),
    "datasets.arch.verify": ("header", ARCH),
    "datasets.arch.archives.books_set.sha256": ("0" * 64, DOWNLOAD),
    "datasets.mine.limit": (2, PAIRS),
    "datasets.mine.folds.count": (3, of(FOLDS, "mine")),
    # Snakemake compares lists of inputs, and shares are inputs; docs/evaluation.md says how to keep what is there.
    "datasets.demo.evaluation.jobs": (2, of(["score_blocks", *EVALUATE], "demo")),
    "datasets.demo.evaluation.block_images": (20, of(EVALUATE, "demo")),
    "datasets.mine.evaluation.trec_depth": (None, of(EVALUATE, "mine")),
    "datasets.mine.evaluation.jobs": (1, of(EVALUATE, "mine") - {"score_blocks mine"}),
    "models.small.maps": (3, of(TRAIN, "mine")),
    "encoders.tiny_vit.trainable_blocks": (3, of(IMAGES, "demo", "mine")),
    "encoders.tiny_vit.batch_size": (7, NOTHING),
    "encoders.biomed_roberta.max_tokens": (64, of([*LENGTHS, *TEXTS], "arch")),
    "models.lile_demo.loss.margin": (0.3, of(TRAIN, "demo")),
    "models.lile_demo.matching.inverse_temperature": (4.0, of(TRAIN, "demo")),
    "models.lile_paper.training.epochs": (3, of(TRAIN, "arch")),
    "models.lile_scaled.training.epochs": (3, NOTHING),
    "tables.arch.published": (None, of(TABLE, "arch")),
    "tracking.uri": ("sqlite:///other.db", of(TRACK)),
}


@pytest.fixture(scope="module")
def finished(project):
    """The project after a finished run of all tables."""
    (project.root / "mine").mkdir()
    (project.root / "mine" / "pairs.csv").write_text(ROWS)
    (project.root / "small.yaml").write_text(yaml.safe_dump(SMALL))
    (project.root / "edit.yaml").write_text("{}\n")
    project.finish(TARGETS, *CONFIGS)
    assert not list(project.root.glob("work/**/*.npz")), "shares of scores are temporary"
    return project


def test_after_a_run_there_is_nothing_to_do(finished):
    assert finished.plan(TARGETS, *CONFIGS) == NOTHING


def test_comments_docstrings_and_layout_run_nothing(finished):
    with (
        finished.edited("src/lile/data/arch.py", "", "\n# a comment\n"),
        finished.edited("src/lile/matching/steps.py", '"""', '"""Said otherwise. '),
        finished.edited("workflow/scripts/table.py", "\n\n\n", "\n\n\n\n\n"),
    ):
        assert finished.plan(TARGETS, *CONFIGS) == NOTHING


@pytest.mark.parametrize("name", sorted(CODE))
def test_edited_code_runs_exactly_what_it_can_reach(finished, name):
    with finished.edited(name, "", "\nEDITED = True\n"):
        assert finished.plan(TARGETS, *CONFIGS) == CODE[name]


@pytest.mark.parametrize("path", sorted(CONFIG))
def test_an_edited_key_runs_exactly_what_reads_it(finished, path):
    value, expected = CONFIG[path]
    for key in reversed(path.split(".")):
        value = {key: value}
    with finished.edited("edit.yaml", "{}\n", yaml.safe_dump(value)):
        assert finished.plan(TARGETS, *CONFIGS) == expected


def test_two_edits_at_once_are_both_seen(finished):
    """Snakemake overlooks changes behind an `ancient` input whose rule is planned: ours must never be planned."""
    with (
        finished.edited("src/lile/data/arch.py", "", "\nEDITED = True\n"),
        finished.edited("edit.yaml", "{}\n", "encoders: {tiny_vit: {trainable_blocks: 3, batch_size: 3}}\n"),
        finished.edited("workflow/scripts/check.py", "", "\nEDITED = True\n"),
    ):
        assert finished.plan(TARGETS, *CONFIGS) == ARCH | of(IMAGES, "demo", "mine")


def test_finished_evaluations_can_be_kept_when_only_the_number_of_their_jobs_changes(finished):
    for jobs in (1, 3):
        edit = f"datasets: {{mine: {{evaluation: {{jobs: {jobs}}}}}}}\n"
        with finished.edited("edit.yaml", "{}\n", edit):
            triggers = ["--rerun-triggers", "code", "mtime", "params", "software-env"]
            assert finished.plan(TARGETS, *CONFIGS, *triggers) == NOTHING


def test_a_deleted_table_is_written_again_and_nothing_else(finished):
    path = finished.root / "results" / "tables" / "demo.csv"
    content = path.read_text()
    path.unlink()
    try:
        assert finished.plan(TARGETS, *CONFIGS) == of(TABLE, "demo")
    finally:
        path.write_text(content)
