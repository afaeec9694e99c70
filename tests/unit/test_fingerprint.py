"""Fingerprints of code: what changes them, what does not, and which modules they see."""

from __future__ import annotations

from pathlib import Path

import pytest

from lile.errors import InputError
from lile.fingerprint import code_of, files_behind

FILES = {
    "src/pkg/__init__.py": "",
    "src/pkg/base.py": "ONE = 1\n",
    "src/pkg/lazy.py": "def lazy():\n    from pkg.data import arch\n    return arch.read()\n",
    "src/pkg/data/__init__.py": "",
    "src/pkg/data/arch.py": '"""Doc."""\nfrom ..base import ONE\n\n\ndef read():\n    """Read."""\n    return ONE\n',
    "src/pkg/data/coco.py": "from . import boxes\n",
    "src/pkg/data/boxes.py": "BOX = 4\n",
    "src/pkg/typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pkg.data import coco\n",
    "workflow/scripts/run.py": "import json\nimport numpy\nfrom pkg.lazy import lazy\n\nlazy()\n",
    "workflow/scripts/coco.py": "import pkg.data.coco\n",
    "workflow/scripts/typed.py": "from pkg import typed\n",
    "workflow/scripts/beside.py": "from helper import help_me\n",
    "workflow/scripts/helper.py": "def help_me():\n    return 1\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def code(root: Path, script: str) -> str:
    return code_of(root / "workflow" / "scripts" / script, root)


def changes(root: Path, script: str, name: str, text: str) -> bool:
    before = code(root, script)
    (root / name).write_text(text)
    return code(root, script) != before


def test_it_is_stable_and_short(root):
    assert code(root, "run.py") == code(root, "run.py")
    assert len(code(root, "run.py")) == 16
    assert code(root, "run.py") != code(root, "coco.py")


def test_comments_docstrings_and_layout_change_nothing(root):
    text = '"""Other."""\n# why\nfrom ..base import (\n    ONE,\n)\n\ndef read():\n    return (ONE)  # x\n'
    assert not changes(root, "run.py", "src/pkg/data/arch.py", text)
    only_docs = FILES["src/pkg/base.py"] + '"""What ONE is."""\n'
    assert not changes(root, "run.py", "src/pkg/base.py", only_docs), "a string below a constant documents it"


def test_a_docstring_in_place_of_a_body_may_come_and_go(root):
    assert not changes(
        root, "run.py", "src/pkg/lazy.py", FILES["src/pkg/lazy.py"].replace("():\n", '():\n    "x"\n', 1)
    )


@pytest.mark.parametrize(
    ("script", "name", "seen"),
    [
        ("run.py", "workflow/scripts/run.py", True),
        ("run.py", "src/pkg/lazy.py", True),
        ("run.py", "src/pkg/data/arch.py", True),  # imported inside a function, by `from pkg.data import arch`
        ("run.py", "src/pkg/base.py", True),  # behind it, by a relative import
        ("run.py", "src/pkg/data/__init__.py", True),
        ("run.py", "src/pkg/__init__.py", True),
        ("run.py", "src/pkg/data/coco.py", False),
        ("run.py", "src/pkg/data/boxes.py", False),
        ("coco.py", "src/pkg/data/coco.py", True),
        ("coco.py", "src/pkg/data/boxes.py", True),  # by `from . import boxes`
        ("coco.py", "src/pkg/data/arch.py", False),
        ("coco.py", "src/pkg/lazy.py", False),
        ("typed.py", "src/pkg/typed.py", True),
        ("typed.py", "src/pkg/data/coco.py", False),  # for the type checker alone
        ("beside.py", "workflow/scripts/helper.py", True),
    ],
)
def test_exactly_the_modules_it_can_reach(root, script, name, seen):
    assert changes(root, script, name, FILES[name] + "\nNEW = 2\n") is seen


def test_a_changed_string_that_is_used_counts(root):
    assert changes(root, "run.py", "src/pkg/base.py", "ONE = 'text'\n")


def test_another_place_of_the_checkout_changes_nothing(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for name, text in FILES.items():
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_text(text)
    assert code(root, "run.py") == code(other, "run.py")


def test_missing_and_broken_code_is_named(root):
    with pytest.raises(InputError, match=r"none\.py"):
        code(root, "none.py")
    (root / "src/pkg/base.py").write_text("ONE = = 1\n")
    with pytest.raises(InputError, match=r"base\.py: line 1"):
        code(root, "run.py")


def test_our_own_scripts_do_not_drag_in_what_they_do_not_run(project_root):
    def closure(script: str) -> set[str]:
        files = files_behind(project_root / "workflow" / "scripts" / script, project_root)
        return {path.relative_to(project_root).as_posix() for path in files}

    assert "src/lile/data/arch.py" in closure("read_arch.py")
    assert "src/lile/data/arch.py" not in closure("read_pairs.py")
    assert not {name for name in closure("table.py") if name.startswith("src/lile/training/")}


def test_compiled_code_beside_a_module_counts_and_its_comments_do_not(root):
    native = "src/pkg/data/arch.cpp"
    assert changes(root, "run.py", native, "int one() { return 1; }  // why\n")
    assert not changes(root, "run.py", native, "// other\nint one() { return 1;\n  }\n")
    assert changes(root, "run.py", native, "int one() { return 2; }\n")
    assert not changes(root, "coco.py", native, "int one() { return 3; }\n")
