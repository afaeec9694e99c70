"""A copy of the project to plan in, and what a dry run says it would do."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
JOB = re.compile(r"^(?:local)?rule (?P<rule>\w+):\n(?P<body>(?:    .*\n)*)", re.MULTILINE)


class Project:
    """A copy of the checkout with its own results, in which files may be edited."""

    def __init__(self, root: Path) -> None:
        self.root = root
        names = subprocess.run(
            ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\0")
        for name in names:
            if name.startswith(("Snakefile", "workflow/", "config/", "profiles/", "src/")) and (ROOT / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, root / name)

        environment = {**os.environ, "PYTHONPATH": str(root / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        self.server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forked_snakemake.py"))],
            cwd=root,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End the process that plans."""
        self.server.communicate()

    def snakemake(self, *words: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> tuple[int, str]:
        """Run Snakemake on the copy, with the copy's own package; return exit status and all it said."""
        said = self.root / ".said"
        job = {"words": ["--cores", "2", "--nocolor", *words], "cwd": str(cwd or self.root), "said": str(said)}
        self.server.stdin.write(json.dumps(job | {"env": env or {}}) + "\n")
        self.server.stdin.flush()
        status = int(self.server.stdout.readline())
        return status, said.read_text(encoding="utf-8")

    def jobs(self, targets: Sequence[str], *words: str, **where: Any) -> list[tuple[str, str]]:
        """Return (rule, body) of every job that a dry run plans."""
        status, said = self.snakemake("--dry-run", *words, "--", *targets, **where)
        assert status == 0, said[-3000:]
        jobs = {(job["rule"], job["body"]) for job in JOB.finditer(said) if job["rule"] != "all"}
        assert jobs or "Nothing to be done" in said, said[-3000:]
        return sorted(jobs)

    def plan(self, targets: Sequence[str], *words: str, **where: Any) -> set[str]:
        """Return what a dry run plans, as {"rule dataset", ...}; a table counts for what it is named after."""
        return {f"{rule} {_subject(body)}" for rule, body in self.jobs(targets, *words, **where)}

    def finish(self, targets: Sequence[str], *words: str) -> None:
        """Leave the project as a finished run would: every output there, with the metadata of its job."""
        for _, body in self.jobs(targets, *words):
            for name in re.findall(r"^    output: (.*)$", body, re.MULTILINE)[0].split(", "):
                path = self.root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.suffix:
                    path.write_text(name)
                else:  # a folder of files
                    path.mkdir(exist_ok=True)
        status, said = self.snakemake("--touch", "--forceall", *words, "--", *targets)
        assert status == 0, said[-3000:]

    @contextmanager
    def edited(self, name: str, old: str, new: str) -> Iterator[None]:
        """Replace text in a file of the copy, for as long as the block lasts; an empty ``old`` appends."""
        path = self.root / name
        before = path.read_text(encoding="utf-8")
        assert old in before, f"{name} holds no {old!r}"
        path.write_text(before.replace(old, new, 1) if old else before + new, encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(before, encoding="utf-8")


def _subject(body: str) -> str:
    wildcards = dict(re.findall(r"(\w+)=([^,\n]+)", re.findall(r"^    wildcards: (.*)$", body, re.MULTILINE)[0]))
    return next(
        wildcards[name] for name in ("dataset", "table", "pretraining", "patches", "folder") if name in wildcards
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A fresh copy of the project, one per module of tests."""
    copy = Project(tmp_path_factory.mktemp("project"))
    yield copy
    copy.close()
