"""An encoder that is trained here: what is planned before it, and what an edit runs again."""

from __future__ import annotations

import pytest
import yaml

CONFIGS = ["--configfile", "trained.yaml", "edit.yaml"]
TARGET = ["results/tables/demo.csv"]
TRAINED = {
    "datasets": {"demo": {"folds": {"count": 2}, "encoders": {"image": "patches"}}},
    "encoders": {
        "patches": {"modality": "image", "weights": "results/pretrain/second", "image_size_px": 96},
        "mobilenet": {
            "modality": "image",
            "weights": "resources/encoders/mobilenet_v1_075",
            "convert_from": "mobilenet.npz",
            "trainable_blocks": 0,
        },
    },
    "pretraining": {
        "first": {"data": {"kind": "folder", "root": "some/folder"}, "start": "resources/encoders/mobilenet_v1_075"},
        "second": {"data": {"kind": "csv", "file": "list.csv"}, "start": "results/pretrain/first"},
        "unused": {"data": {"kind": "nct_crc"}, "start": "random", "config": "config/encoders/tiny_vit"},
    },
    "tables": {"demo": {"models": ["lile_demo"]}},
}

REST = {f"{rule} demo" for rule in ("train_fold", "evaluate_fold", "track", "table")}
TOKENS = {"image_tokens demo"} | REST
SECOND = {"pretrain second"} | TOKENS
FIRST = {"pretrain first"} | SECOND
CONVERTED = {"convert_weights mobilenet_v1_075"} | FIRST

CODE = {
    "src/lile/pretraining/census.py": FIRST,
    "src/lile/pretraining/plot.py": FIRST,
    "workflow/scripts/pretrain.py": FIRST,
    "src/lile/training/epochs.py": FIRST,
    "src/lile/features/pixels.py": FIRST,
    # Retrieval's own knobs and losses: a pretraining of days must not run again for them.
    "src/lile/models/losses.py": REST,
    "src/lile/models/training_config.py": REST,
    "src/lile/training/schedule.py": REST,
    "src/lile/training/shared.py": REST,
    "src/lile/data/pairs.py": set(),
    "src/lile/pretrained_here.py": set(),
    "src/lile/checks/pretraining.py": set(),
}
KEYS = {
    "pretraining.first.training.epochs": (3, FIRST),
    "pretraining.first.augmentation.hue": (0.0, FIRST),
    "pretraining.second.training.class_balance": ("weighted_loss", SECOND),
    "pretraining.second.data.note": ("Mine.", SECOND),
    "pretraining.second.freeze_blocks": (2, SECOND),
    "pretraining.unused.training.epochs": (3, set()),
    "encoders.patches.trainable_blocks": (1, TOKENS),
    "encoders.patches.batch_size": (3, set()),
}


@pytest.fixture(scope="module")
def finished(project):
    """The project after a finished run."""
    (project.root / "mobilenet.npz").write_bytes(b"")
    (project.root / "list.csv").write_text("image,label\nx.png,a\n")
    (project.root / "trained.yaml").write_text(yaml.safe_dump(TRAINED))
    (project.root / "edit.yaml").write_text("{}\n")
    planned = project.plan(TARGET, *CONFIGS)
    assert planned >= CONVERTED, "each is made before what stands on it"
    assert "pretrain unused" not in planned
    project.finish(TARGET, *CONFIGS)
    return project


def test_jobs_stand_on_each_other(finished):
    jobs = {rule: body for rule, body in finished.jobs(TARGET, *CONFIGS, "--forceall") if rule == "image_tokens"}
    assert "results/pretrain/second/model.safetensors" in jobs["image_tokens"]
    starts = [body for rule, body in finished.jobs(TARGET, *CONFIGS, "--forceall") if rule == "pretrain"]
    inputs = sorted(line.strip() for body in starts for line in body.splitlines() if line.startswith("    input:"))
    assert inputs == [
        "input: resources/encoders/mobilenet_v1_075/config.json, resources/encoders/mobilenet_v1_075/model.safetensors",
        "input: results/pretrain/first/config.json, results/pretrain/first/model.safetensors, list.csv",
    ]


def test_after_a_run_there_is_nothing_to_do(finished):
    assert finished.plan(TARGET, *CONFIGS) == set()


@pytest.mark.parametrize("name", sorted(CODE))
def test_edited_code(finished, name):
    with finished.edited(name, "", "\nEDITED = True\n"):
        planned = finished.plan(TARGET, *CONFIGS)
        assert {one for one in planned if one in CONVERTED} == CODE[name]


@pytest.mark.parametrize("path", sorted(KEYS))
def test_an_edited_key(finished, path):
    value, expected = KEYS[path]
    for key in reversed(path.split(".")):
        value = {key: value}
    with finished.edited("edit.yaml", "{}\n", yaml.safe_dump(value)):
        assert finished.plan(TARGET, *CONFIGS) == expected


def test_nct_crc_is_fetched_where_it_is_not_there(project, finished):
    words = ["results/pretrain/unused/record.json"]
    fetched = {
        f"{rule} {part}"
        for rule in ("download_patches", "unpack_patches")
        for part in ("NCT-CRC-HE-100K", "CRC-VAL-HE-7K")
    }
    assert project.plan(words, *CONFIGS) == {"pretrain unused"} | fetched
    edit = "pretraining: {unused: {data: {download: false, root: mine/nct}}}\n"
    with finished.edited("edit.yaml", "{}\n", edit):
        assert project.plan(words, *CONFIGS) == {"pretrain unused"}


def test_another_table_of_pictures_trains_again(finished):
    with finished.edited("list.csv", "x.png", "y.png"):
        assert finished.plan(TARGET, *CONFIGS) == SECOND


def test_the_trial_plans_each_encoder_and_no_other(project, tmp_path):
    weights = tmp_path / "weights" / "mobilenet_v1_0.75_224.npz"
    weights.parent.mkdir()
    weights.write_bytes(b"")
    words = ["--configfile", "config/trial/pretrain.yaml"]
    env = {"LILE_TEST_DATA": str(tmp_path)}
    vit = project.plan(["results/pretrain/lung_vit/record.json"], *words, env=env)
    assert vit == {"pretrain lung_vit"}
    mobilenet = project.plan(["results/pretrain/lung_mobilenet/record.json"], *words, env=env)
    assert mobilenet == {"pretrain lung_mobilenet", "convert_weights mobilenet_v1_075"}


def test_lile_check_says_what_will_be_made_and_what_is_missing(tmp_path, monkeypatch):
    from lile.checks.encoders import check_encoders
    from lile.config import load

    overlay = tmp_path / "my.yaml"
    overlay.write_text(yaml.safe_dump(TRAINED))
    config = load([overlay])
    monkeypatch.chdir(tmp_path)
    found = {check.name: check for check in check_encoders(config, "demo", tmp_path)}
    assert found["image encoder patches"].status == "PASS"
    assert found["image encoder patches"].found == "weights will be made by pretrain"
    assert found["pretraining first"].status == "FAIL"
    assert "some/folder: no such folder" in found["pretraining first"].found
    assert "list.csv: no such file" in found["pretraining second"].found
    assert "pretraining unused" not in found

    (tmp_path / "list.csv").write_text("image,label\n" + "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(40)))
    found = {check.name: check for check in check_encoders(config, "demo", tmp_path)}
    assert found["pretraining second"].status == "WARN", "no slides"
    assert found["pretraining second"].found.startswith("40 pictures in 2 classes, the smallest of 20")
