"""Which code a script is: a hash of its source and of every first-party module it imports.

Snakemake sees a changed script but not a changed module behind it. A rule therefore carries :func:`code_of` its script
as a parameter: comments, docstrings and formatting change nothing, a line in a module reruns exactly the rules
whose scripts can reach that module.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lile.errors import InputError

COMPILED = (".cpp", ".h")  # a module's compiled part lies beside it under its name: native.py, native.cpp, native_*.h


@dataclass(frozen=True, slots=True)
class _Module:
    digest: str
    imports: tuple[tuple[int, str], ...]
    """(level, dotted name) of each import: level 0 is absolute, 1 is this package, 2 its parent, ..."""


def code_of(entry: Path, root: Path) -> str:
    """Return 16 hex digits for the code that ``entry`` runs.

    Followed are absolute and relative imports of modules under ``root/src`` and of files beside ``entry``, at
    module level and inside functions, with the ``__init__.py`` of every package on the way. Imports under
    ``if TYPE_CHECKING`` are not: they never run. Imports by a computed name are not seen. C++ beside a module under
    its name (``native.cpp``, ``native_steps.h``) belongs to the module.

    Args:
        entry: the script.
        root: the checkout.

    Raises:
        InputError: a file is missing or is not Python.
    """
    named = sorted(f"{_name_of(path, root)} {digest}" for path, digest in files_behind(entry, root).items())
    return hashlib.sha256("\n".join(named).encode("utf-8")).hexdigest()[:16]


def files_behind(entry: Path, root: Path) -> dict[Path, str]:
    """Return the files that :func:`code_of` looks at, each with the digest of its code. Same arguments and errors."""
    search = (root / "src", entry.parent)
    seen: dict[Path, str] = {}
    waiting = [entry]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        module = _module(path)
        seen[path] = module.digest
        seen |= {beside: _companion_digest(beside) for beside in _companions(path)}
        waiting += [found for level, name in module.imports for found in _files_of(level, name, path, search)]
    return seen


def _companions(module: Path) -> Iterator[Path]:
    for path in sorted(module.parent.glob(f"{module.stem}*")):
        if path.suffix in COMPILED and path.stem.removeprefix(module.stem)[:1] in ("", "_"):
            yield path


def _companion_digest(path: Path) -> str:
    """Return the digest of C++ code without comments and layout."""
    code = re.sub(r"//[^\n]*", "", path.read_text("utf-8"))
    return hashlib.sha256(" ".join(code.split()).encode("utf-8")).hexdigest()


def _name_of(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _module(path: Path) -> _Module:
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path}: code that a rule runs cannot be read ({error.strerror})") from None
    return _parsed(path, status.st_mtime_ns, status.st_size)


@cache
def _parsed(path: Path, mtime_ns: int, size: int) -> _Module:
    """Parse a file once for as long as its time and size stay the same."""
    del mtime_ns, size  # part of the key only
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise InputError(f"{path}: line {error.lineno} is not valid Python: {error.msg}") from None
    imports = tuple(dict.fromkeys(_imports(tree)))
    for node in ast.walk(tree):
        _drop_docstring(node)
    # unparse, not dump: the text of dump differs between versions of Python.
    return _Module(hashlib.sha256(ast.unparse(tree).encode("utf-8")).hexdigest(), imports)


def _drop_docstring(node: ast.AST) -> None:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return
    # A string after a field documents it, so every bare string goes, not the first alone.
    kept = [item for item in node.body if not _is_bare_string(item)]
    node.body = kept or [ast.Pass()]


def _is_bare_string(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imports(node: ast.AST) -> Iterator[tuple[int, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((0, alias.name) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            # `from a import b`: b may be a module or something inside a.
            prefix = f"{child.module}." if child.module else ""
            yield from ((child.level, f"{prefix}{alias.name}") for alias in child.names)
        elif isinstance(child, ast.If) and _is_type_checking(child.test):
            yield from (found for item in child.orelse for found in _imports(ast.Module([item], [])))
        else:
            yield from _imports(child)


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def _files_of(level: int, name: str, importer: Path, search: tuple[Path, ...]) -> Iterator[Path]:
    """Yield the files that an import runs: each package's ``__init__.py`` on the way, and the module."""
    parts = name.split(".")
    bases = search if level == 0 else (importer.parents[level - 1],)
    for base in bases:
        if level == 0 and not ((base / parts[0]).is_dir() or (base / f"{parts[0]}.py").is_file()):
            continue
        folder = base
        if level and (base / "__init__.py").is_file():
            yield base / "__init__.py"
        for part in parts:
            if (folder / f"{part}.py").is_file():
                yield folder / f"{part}.py"
                break
            folder = folder / part
            if (folder / "__init__.py").is_file():
                yield folder / "__init__.py"
        return
