"""Every shipped config and table can be planned, and a table asks for all it stands on and nothing else."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from lile import lists
from lile.config import load

STAGES = {
    "check", "describe", "duplicates", "make_folds", "leaks", "image_tokens", "text_tokens", "train_fold",
    "evaluate_fold", "track", "caption_lengths", "table",
}  # fmt: skip
TRIALS = {name: f"config/trial/{name}.yaml" for name in ("medpix", "flickr8k", "flickr8k_coco")}
RULES = Path(__file__).resolve().parents[2] / "workflow" / "rules"


def of(dataset: str, *more: str) -> set[str]:
    return {f"{rule} {dataset}" for rule in STAGES | set(more)}


def test_the_demo_is_what_is_made_when_nothing_is_asked_for(project):
    assert project.plan([]) == of("demo", "read_synthetic")


def runs_of(jobs: list[tuple[str, str]], rule: str) -> Counter[str]:
    """How often a rule runs for each model."""
    return Counter(re.findall(r"model=(\w+)", body)[0] for name, body in jobs if name == rule)


def encoders_of(jobs: list[tuple[str, str]]) -> set[str]:
    return {re.findall(r"encoder=(\w+)", body)[0] for name, body in jobs if name.endswith("_tokens")}


@pytest.mark.parametrize(
    ("table", "rows", "folds", "encoders", "rules"),
    [
        ("arch", 14, 5, {"deit_base", "biomed_roberta"}, {"download_archive", "unpack_archive", "read_arch"}),
        (
            "coco",
            17,
            1,
            {"coco_regions", "roberta_base", "align_image", "align_text"},
            {
                "download_archive",
                "unpack_archive",
                "read_coco",
                "region_tokens",
                "train_cross_fold",
                "evaluate_cross_fold",
            },
        ),
    ],
)
def test_a_table_of_the_paper_plans_its_rows_and_what_they_stand_on(project, table, rows, folds, encoders, rules):
    config = load([])
    shown = config["tables"][table]["models"]
    assert len(shown) == rows
    reranked, ensembles = {"oscar_like"} & set(shown), {"scan_paper", "scan_coco"} & set(shown)
    jobs = project.jobs([f"results/tables/{table}.csv"])
    assert {rule for rule, _ in jobs} == STAGES | {"combine_fold"} | rules
    assert {re.findall(r"(?:dataset|table)=(\w+)", body)[0] for _, body in jobs} == {table}, "no other dataset"
    assert runs_of(jobs, "evaluate_fold") == dict.fromkeys({*shown} - reranked, folds)
    assert runs_of(jobs, "combine_fold") == dict.fromkeys(ensembles, folds)
    assert runs_of(jobs, "train_fold") == dict.fromkeys({*shown} - reranked - ensembles, folds)
    assert runs_of(jobs, "train_cross_fold") == runs_of(jobs, "evaluate_cross_fold") == dict.fromkeys(reranked, folds)
    assert runs_of(jobs, "track") == dict.fromkeys(shown, 1)
    assert encoders_of(jobs) == encoders | {"clip_image", "clip_text"}


@pytest.mark.parametrize(
    ("overlay", "stored", "read"),
    [
        (None, {"coco_regions"}, {"coco_vit", "coco_regions"}),
        ("patches", {"coco_patches"}, {"coco_patches"}),
        ("bottom_up", {"bottom_up"}, {"bottom_up_vit", "bottom_up"}),
    ],
)
def test_coco_on_detected_regions_on_patches_and_on_published_regions(project, overlay, stored, read, tmp_path):
    words = ["--configfile", f"config/coco/{overlay}.yaml"] if overlay else []
    if overlay == "bottom_up":
        regions = tmp_path / "regions.yaml"
        (tmp_path / "regions.tsv").touch()
        regions.write_text(f"encoders: {{bottom_up: {{files: [{tmp_path / 'regions.tsv'}]}}}}\n")
        words.append(str(regions))
    jobs = project.jobs(["results/tables/coco.csv"], *words)
    dual = {"clip_image", "align_image"}
    texts = {"roberta_base", "clip_text", "align_text"}
    assert encoders_of(jobs) - texts - dual == stored, "tokens are stored once, whoever reads them"
    assert Counter(rule for rule, _ in jobs)["download_archive"] == 4
    config = load([project.root / "config" / "coco" / f"{overlay}.yaml"] if overlay else [])
    rows = {member for row in config["tables"]["coco"]["models"] for member in lists.members_of(config, row)}
    assert {lists.encoder_of(config, "coco", row, "image") for row in rows} - dual == read
    lile = {lists.encoder_of(config, "coco", row, "image") for row in ("lile_paper", "lile_scaled")}
    assert lile == {config["datasets"]["coco"]["encoders"]["image"]}


def test_plain_folds_train_again_on_the_same_tokens(project):
    jobs = project.jobs(["results/tables/arch_plain.csv"])
    assert runs_of(jobs, "train_fold") == dict.fromkeys(["lile_paper", "lile_scaled"], 5)
    assert {body.count("dataset=arch_plain") for rule, body in jobs if rule == "make_folds"} == {1}
    assert {body.count("dataset=arch,") for rule, body in jobs if rule.endswith("_tokens")} == {1}


def test_an_ablation_plans_exactly_the_rows_that_are_not_there(project, tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(
        "datasets: {drawn: {kind: synthetic, folds: {count: 2}, encoders: {image: tiny_vit, text: tiny_roberta}}}\n"
    )
    words = ["--configfile", str(overlay)]

    def trained(*tables: str) -> dict[str, int]:
        jobs = project.jobs([f"results/tables/{table}.csv" for table in tables], *words)
        assert runs_of(jobs, "train_fold") == runs_of(jobs, "evaluate_fold")
        return dict(runs_of(jobs, "train_fold"))

    steps = {"lile_scaled__steps_1": 2, "lile_scaled__steps_3": 2, "lile_scaled__steps_4": 2}
    candidate = {"lile_scaled__matching_update_candidate": 2}
    assert trained("drawn_steps", "drawn_gate") == {"lile_scaled": 2, **steps, **candidate}
    project.finish(["results/tables/drawn_steps.csv"], *words)
    assert trained("drawn_steps", "drawn_gate") == candidate, "K = 1 and the model itself are there"


def test_arch_from_a_folder_that_is_there_downloads_nothing(project, tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(
        "datasets: {arch: {download: false, root: /somewhere/arch}}\ntables: {arch: {models: [lile_paper]}}\n"
    )
    planned = project.plan(["results/tables/arch.csv"], "--configfile", str(overlay))
    assert planned == of("arch", "read_arch")


def test_coco_is_fetched_unpacked_and_read_archive_by_archive(project, tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(
        "datasets: {photos: {kind: coco, encoders: {image: tiny_vit, text: tiny_roberta}}}\n"
        "tables: {photos: {dataset: photos, models: [lile_demo]}}\n"
    )
    jobs = project.jobs(["results/tables/photos.csv"], "--configfile", str(overlay))
    assert {rule for rule, _ in jobs} == STAGES | {"download_archive", "unpack_archive", "read_coco"}
    archives = ["annotations", "split", "train2014", "val2014"]
    for rule in ("download_archive", "unpack_archive"):
        assert sorted(re.findall(r"archive=(\w+)", body)[0] for name, body in jobs if name == rule) == archives
    (reading,) = (body for rule, body in jobs if rule == "read_coco")
    assert all(f"resources/photos/{archive}.unpacked" in reading for archive in archives)

    overlay.write_text(overlay.read_text().replace("kind: coco", "kind: coco, download: false, root: /data/coco"))
    planned = project.plan(["results/tables/photos.csv"], "--configfile", str(overlay))
    assert planned == of("photos", "read_coco")


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("name", sorted(TRIALS))
def test_trials(project, name, short, tmp_path):
    weights = tmp_path / "weights" / "mobilenet_v1_0.75_224.npz"
    weights.parent.mkdir()
    weights.write_bytes(b"")
    shortened = [*TRIALS.values(), "config/trial/pretrain.yaml", "config/trial/short.yaml"]
    files = ["config/trial/rows.yaml", *(shortened if short else [TRIALS[name]])]
    planned = project.plan(
        [f"results/tables/{name}.csv"], "--configfile", *files, env={"LILE_TEST_DATA": str(tmp_path)}
    )
    expected = of(name, "read_coco" if name.endswith("coco") else "read_pairs") | {"convert_weights mobilenet_v1_075"}
    assert planned - {f"combine_fold {name}"} == expected  # the short form shows fewer rows


def test_a_job_per_fold_model_shard_and_share_of_scores(project, tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(
        "datasets: {arch: {shards: 3, folds: {count: 4}, evaluation: {jobs: 5}}}\n"
        "tables: {arch: {models: [lile_paper, lile_scaled]}}\n"
    )
    jobs = [rule for rule, _ in project.jobs(["results/tables/arch.csv"], "--configfile", str(overlay))]
    assert jobs.count("train_fold") == jobs.count("evaluate_fold") == 2 * 4
    assert jobs.count("score_blocks") == 2 * 4 * 5
    assert jobs.count("image_tokens") == jobs.count("text_tokens") == 3
    assert jobs.count("track") == 2


def test_work_in_another_folder(project, tmp_path):
    assert project.plan([], "--directory", str(tmp_path)) == of("demo", "read_synthetic")
    snakefile = str(project.root / "Snakefile")
    assert project.plan([], "--snakefile", snakefile, cwd=tmp_path) == of("demo", "read_synthetic")


def test_the_slurm_profile_can_be_planned_with(project):
    status, said = project.snakemake("--dry-run", "--workflow-profile", "profiles/slurm", "results/tables/demo.csv")
    assert status == 0, said[-3000:]
    assert "profiles/slurm" in said


def test_a_wrong_config_ends_in_one_message(project):
    status, said = project.snakemake("--dry-run", "--config", "sed=1")
    assert status == 1
    assert "sed: unknown key; did you mean seed?" in said
    assert "Traceback" not in said


def rules() -> dict[str, str]:
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(RULES.glob("*.smk")))
    return {block.split(":", 1)[0]: block for block in re.split(r"^rule ", text, flags=re.MULTILINE)[1:]}


@pytest.mark.parametrize("name", sorted(rules()))
def test_every_rule_is_logged_timed_and_watched(name):
    block = rules()[name]
    assert "\n    log:" in block
    assert "\n    benchmark:" in block
    assert "localrule: True" in block or "retries:" not in block, "under SLURM retries in a rule multiply"
    if name != "check":
        ran = re.findall(r'script=script\("(\w+\.py)"\)', block)
        assert len(ran) == 1
        assert re.findall(r'\bcode=code\("(\w+\.py)"\)', block) == ran, "what is watched is what runs"
        assert name == "convert_weights" or "slice_of(" in block


def test_the_slurm_profile_asks_for_a_card_for_every_rule_that_can_use_one():
    profile = yaml.safe_load((RULES.parents[1] / "profiles" / "slurm" / "config.yaml").read_text(encoding="utf-8"))
    asking = {name for name, block in rules().items() if "gpu=gpus" in block}
    assert {"train_fold", "train_cross_fold"} <= asking
    assert profile["set-resources"] == {name: {"gpu": 1} for name in asking}
