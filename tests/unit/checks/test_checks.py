"""Each check says what it found in one line, and fails before the work would."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lile.checks.data import survey_of
from lile.checks.encoders import check_encoder, check_encoders
from lile.checks.environment import check_compiler, check_disk, check_git
from lile.checks.findings import Check
from lile.checks.run import check_dataset, failures, run_checks
from lile.checks.splits import check_splits
from lile.data.folds import make_folds
from lile.data.pairs import read_pairs
from lile.errors import InputError


def splits_of(config, name, root):
    block = config["datasets"][name]
    (found,) = check_splits(block, survey_of(block, root))
    return found


def test_all_is_well_with_a_small_dataset_of_ones_own(config, root):
    checks = run_checks(config, "own", root)
    assert not failures(checks), [check.line for check in failures(checks)]
    by_name = {check.name: check for check in checks}
    assert {"python", "torch", "disk results/", "disk resources/", "disk work/", "git"} <= set(by_name)
    assert by_name["data table"].found.startswith("6 rows, 6 captions, 6 images")
    assert by_name["images"].status == "PASS"
    assert by_name["image encoder vit"].status == "WARN"
    assert "random" in by_name["image encoder vit"].found
    assert by_name["model lile"].status == "PASS"
    assert all("\n" not in check.line for check in checks)


def test_an_unknown_dataset_is_named_with_the_nearest(config, root):
    with pytest.raises(InputError, match=r"no dataset 'ownn' in the config; try own"):
        run_checks(config, "ownn", root)


def test_a_line_survives_any_name():
    line = Check("images", "FAIL", "a\nb \x1b[31m \ud800", "mend\tit").line
    assert line == "FAIL images: a b ?[31m ? -> mend it"
    line.encode("utf-8")


class TestSplits:
    def by_split(self, config, root):
        config["datasets"]["own"]["folds"]["by"] = "split"
        return splits_of(config, "own", root)

    def test_named_splits_are_counted_under_our_words(self, config, root):
        found = self.by_split(config, root)
        assert found.status == "PASS"
        assert found.found == "train 3, validation 1, test 2"

    def test_no_test_rows(self, config, root, write_splits):
        write_splits(["train", "val", ""])
        found = self.by_split(config, root)
        assert found.status == "FAIL"
        assert found.found == "no test rows (train 1, validation 1, no split 1)"

    def test_rows_without_a_split_fail_here_as_they_fail_in_make_folds(self, config, root, write_splits):
        write_splits(["train", "train", "val", "test", "", " "])
        found = self.by_split(config, root)
        assert found.status == "FAIL"
        assert found.found == "2 images without a split (train 2, validation 1, test 1, no split 2)"
        folds = config["datasets"]["own"]["folds"]
        with pytest.raises(InputError, match="2 image"):
            make_folds(read_pairs(config["datasets"]["own"], "header").images, **folds, seed=0)

    def test_a_split_column_that_cross_validation_ignores(self, config, root):
        found = splits_of(config, "own", root)
        assert found.status == "WARN"
        assert "own split, in its column split, is not used" in found.found
        config["datasets"]["own"]["columns"]["split"] = None
        assert splits_of(config, "own", root).status == "PASS"

    def test_no_validation_rows_are_no_fault(self, config, root, write_splits):
        write_splits(["train", "test"])
        found = self.by_split(config, root)
        assert found.status == "PASS"
        assert "10% of train" in found.found

    def test_an_unknown_word(self, config, root, write_splits):
        write_splits(["train", "tset"])
        found = self.by_split(config, root)
        assert found.status == "FAIL"
        assert "tset" in found.found

    @pytest.mark.parametrize(("by", "most"), [("split", 2), ("cross_validation", 3)])
    def test_fewer_test_images_than_a_block_has(self, config, root, by, most):
        block = config["datasets"]["own"]  # six images
        block["folds"] = {**block["folds"], "by": by, "count": 2 if by == "cross_validation" else 1}
        for size, failing in ((None, False), (most, False), (most + 1, True)):
            block["evaluation"] = {"block_images": size}
            found = {check.name: check for check in check_splits(block, survey_of(block, root))}
            assert ("blocks" in found) == failing
        assert (found["blocks"].status, f"at most {most}" in found["blocks"].found) == ("FAIL", True)

    def test_no_split_column(self, config, root):
        config["datasets"]["own"]["columns"]["split"] = None
        assert self.by_split(config, root).status == "FAIL"

    def test_fewer_groups_than_folds(self, config, root):
        block = config["datasets"]["own"]
        block["columns"] |= {"group": "split", "split": None}
        block["folds"] = {**block["folds"], "count": 6}
        found = splits_of(config, "own", root)
        assert found.status == "FAIL"
        assert "6 folds of at most 4 groups" in found.found
        block["folds"]["group_by"] = "image"
        assert splits_of(config, "own", root).status == "PASS"

    def test_folds_of_what_is_not_downloaded_yet(self, config, root):
        assert splits_of(config, "arch", root).status == "PASS"


class TestEncoders:
    def test_random_weights_need_an_architecture_and_a_tokenizer(self, config, root):
        (root / "roberta" / "tokenizer.json").unlink()
        found = check_encoder("roberta", config["encoders"]["roberta"], "text", root)
        assert found.status == "FAIL"
        assert "tokenizer.json missing" in found.found

    def test_an_encoder_of_the_other_modality(self, config, root):
        found = check_encoder("vit", config["encoders"]["vit"], "text", root)
        assert found.status == "FAIL"

    def test_rows_with_encoders_of_their_own_have_them_checked_once(self, config, root):
        config["encoders"]["clip"] = {"modality": "image", "library": "dual_encoder", "weights": "./clip"}
        config["encoders"]["clip"]["trainable_blocks"] = 0
        own = {"encoders": {"image": "clip", "text": None}}
        config["models"] |= {"zero_shot": own, "again": own, "mean": {"kind": "ensemble", "members": ["member"]}}
        config["models"]["member"] = {"encoders": {"image": None, "text": "nowhere"}}
        config["models"]["cross"] = {"kind": "cross_encoder", "shortlist": {"model": "mean"}}
        config["tables"]["all"]["models"] += ["zero_shot", "again", "cross"]
        found = list(check_encoders(config, "own", root))
        names = ["image encoder vit", "image encoder clip", "text encoder roberta", "text encoder nowhere"]
        assert [check.name for check in found] == names
        assert [check.status for check in found] == ["WARN", "FAIL", "WARN", "FAIL"]
        config["tables"]["all"]["dataset"] = "drawn"
        assert [check.name for check in check_encoders(config, "own", root)] == [names[0], names[2]]

    def test_an_encoder_that_the_config_lacks(self, root):
        assert check_encoder("clip", None, "text", root).status == "FAIL"

    def test_weights_that_a_rule_makes(self, root):
        block = {"modality": "image", "library": "timm", "weights": "resources/encoders/m", "convert_from": "m.npz"}
        found = check_encoder("m", {**block, "trainable_blocks": 0}, "image", root)
        assert found.status == "FAIL"
        assert "m.npz" in found.found
        (root / "m.npz").write_bytes(b"arrays")
        found = check_encoder("m", {**block, "trainable_blocks": 0}, "image", root)
        assert found.status == "PASS"
        assert "made by convert_weights" in found.found

    def test_weights_in_a_folder(self, root):
        block = {"modality": "text", "library": "transformers", "weights": "./mine"}
        assert check_encoder("mine", block, "text", root).status == "FAIL"
        (root / "mine").mkdir()
        for name in ("config.json", "model.safetensors"):
            (root / "mine" / name).write_text("{}")
        found = check_encoder("mine", block, "text", root)
        assert found.status == "FAIL"
        assert "no tokenizer" in found.found
        (root / "mine" / "tokenizer_config.json").write_text("{}")  # no vocabulary: not enough
        assert check_encoder("mine", block, "text", root).status == "FAIL"
        (root / "mine" / "tokenizer.json").write_text("{}")
        assert check_encoder("mine", block, "text", root).status == "PASS"

    @pytest.mark.parametrize("name", ["me--roberta", "roberta"])
    def test_a_hub_id_whose_folder_lacks_the_tokenizer(self, root, name):
        folder = root / "resources" / "encoders" / name
        folder.mkdir(parents=True)
        for file in ("config.json", "pytorch_model.bin", "vocab.json"):
            (folder / file).write_text("{}")
        block = {"modality": "text", "library": "transformers", "weights": "me/roberta"}
        found = check_encoder("mine", block, "text", root)
        assert found.status == "FAIL"
        assert f"no tokenizer in resources/encoders/{name}" in found.found
        (folder / "merges.txt").write_text("")
        assert check_encoder("mine", block, "text", root).status == "PASS"


class TestModels:
    def test_a_preset_that_is_contradicted(self, config, root):
        config["models"]["lile"] = {"preset": "scaled", "matching": {"reduce": "sum"}}
        (found,) = failures(check_dataset(config, "own", root))
        assert found.name == "model lile"
        assert "matching.reduce" in found.found

    def test_a_dataset_that_no_table_shows(self, config, root):
        assert "no table shows drawn" in [check.found for check in check_dataset(config, "drawn", root)]
        config |= {"ablations": {"steps": {}}}
        config["tables"]["drawn_steps"] = {"dataset": "drawn", "models": ["lile"]}
        assert "no table shows drawn" in [check.found for check in check_dataset(config, "drawn", root)]
        config["tables"]["mine"] = config["tables"]["drawn_steps"]
        assert "no table shows drawn" not in [check.found for check in check_dataset(config, "drawn", root)]

    def test_a_config_cut_down_to_the_data(self, config, root):
        cut = {name: config[name] for name in ("datasets", "encoders")}
        assert not failures(check_dataset(cut, "own", root))


class TestEnvironment:
    def test_a_file_where_a_folder_must_be(self, root):
        (root / "results").write_text("")
        assert check_disk(root / "results").status == "FAIL"

    @pytest.mark.parametrize(("free_gb", "status"), [(0.1, "FAIL"), (1.0, "WARN"), (50.0, "PASS")])
    def test_room_on_the_disk(self, root, monkeypatch, free_gb, status):
        import shutil

        usage = shutil.disk_usage(root)._replace(free=int(free_gb * 1e9))
        monkeypatch.setattr("lile.checks.environment.shutil.disk_usage", lambda _: usage)
        assert check_disk(root / "work" / "train").status == status

    def test_a_folder_that_cannot_be_written(self, root, monkeypatch):
        monkeypatch.setattr("lile.checks.environment.os.access", lambda *_: False)
        assert check_disk(root / "results").status == "FAIL"

    def test_no_compiler_and_no_git_are_warnings(self, root, monkeypatch):
        monkeypatch.setenv("PATH", str(root))
        assert check_compiler().status == "WARN"
        assert check_git(root).status == "WARN"


@pytest.mark.slow
def test_the_script_writes_its_findings_only_when_nothing_fails(config, root, project_root):
    script = str(project_root / "workflow" / "scripts" / "check.py")

    def run():
        words = ["--config-json", json.dumps({"config": config, "dataset": "own"}), "--out", "results/own/check.txt"]
        return subprocess.run([sys.executable, script, *words], capture_output=True, text=True, cwd=root)

    assert run().returncode == 0
    lines = (root / "results" / "own" / "check.txt").read_text().splitlines()
    assert {line.split()[0] for line in lines} == {"PASS", "WARN"}
    (root / "results" / "own" / "check.txt").unlink()
    config["datasets"]["own"]["columns"]["image"] = "picture"
    config["encoders"]["vit"]["config"] = "nowhere"
    done = run()
    assert done.returncode == 1
    assert "missing column(s) ['image: picture']" in done.stderr
    assert "config.json missing" in done.stderr
    assert "2 of " in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((root / "results" / "own").iterdir())


@pytest.mark.data
@pytest.mark.parametrize(("dataset", "counts"), [("medpix", "2,050"), ("flickr8k", "train 4,000")])
def test_the_trials_are_ready_to_run(dataset, counts, test_data, project_root, monkeypatch):
    from lile.config import load

    monkeypatch.setenv("LILE_TEST_DATA", str(test_data))
    monkeypatch.chdir(project_root)
    checks = check_dataset(
        load([project_root / "config" / "trial" / f"{name}.yaml" for name in ("rows", dataset)]), dataset
    )
    assert not failures(checks), [check.line for check in failures(checks)]
    assert any(counts in check.found for check in checks)
