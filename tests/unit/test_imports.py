"""What the scripts of a GPU node import: they run where there is no workflow, tracking, splitter or command line."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from lile.fingerprint import files_behind

NOT_ON_A_GPU_NODE = {"snakemake", "mlflow", "nltk", "typer", "rich", "yaml"}


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Every package that a file names in an import, wherever it stands, also for the type checker alone; its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).split(".")[0], node.lineno


def found(script: str, root: Path) -> set[str]:
    """`package: file:line` of every import that a GPU node must not need, in a script and all of ours behind it."""
    return {
        f"{package}: {path.relative_to(root).as_posix()}:{line}"
        for path in files_behind(root / "workflow" / "scripts" / script, root)
        if path.suffix == ".py"
        for package, line in imported(path)
        if package in NOT_ON_A_GPU_NODE
    }


@pytest.mark.parametrize(
    "script",
    ["pretrain.py", "image_tokens.py", "text_tokens.py", "train_fold.py", "score_blocks.py", "evaluate_fold.py"],
)
def test_what_runs_on_a_gpu_node_needs_only_what_it_computes_with(script, project_root):
    assert found(script, project_root) == set()


@pytest.mark.parametrize(("script", "package"), [("track.py", "mlflow"), ("describe.py", "nltk")])
def test_such_imports_are_seen_where_they_are(script, package, project_root):
    assert {line.split(":")[0] for line in found(script, project_root)} >= {package}
