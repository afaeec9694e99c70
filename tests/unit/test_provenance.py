"""Where a result comes from, told without failing and without importing what it names."""

from __future__ import annotations

import os
import subprocess
import sys

from lile.provenance import git_state, host, usable_cpus, versions


def test_versions_name_every_package():
    found = versions()
    assert set(found) == {*("python", "torch", "timm", "transformers", "lightning", "h5py", "numpy", "pandas", "lile")}
    assert found["python"] == ".".join(str(part) for part in sys.version_info[:3])


def test_an_absent_package_is_said_to_be_absent(monkeypatch):
    monkeypatch.setattr("lile.provenance.PACKAGES", ("no-such-package-of-anyone",))
    assert versions()["no-such-package-of-anyone"] == "absent"


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from lile.provenance import *; from lile.tracking import replay; versions(); host();"
        "print([m for m in ('torch','timm','transformers','mlflow','snakemake','pandas') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def git(folder, *words):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


def test_git_state_from_no_checkout_to_a_dirty_one(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) == {"git_commit": None, "git_dirty": None}
    git(tmp_path, "init")
    assert git_state(tmp_path) == {"git_commit": None, "git_dirty": None}
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "one")
    clean = git_state(tmp_path)
    assert len(clean["git_commit"]) == 40
    assert clean["git_dirty"] is False
    (tmp_path / "untracked").write_text("two")
    assert git_state(tmp_path) == clean
    (tmp_path / "file").write_text("two")
    assert git_state(tmp_path)["git_dirty"] is True


def test_a_machine_without_git_never_fails_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) == {"git_commit": None, "git_dirty": None}


def test_host_counts_the_cpus_this_process_may_use():
    found = host()
    assert found["hostname"]
    assert 1 <= found["cpus"] == usable_cpus() <= (os.cpu_count() or 1)
