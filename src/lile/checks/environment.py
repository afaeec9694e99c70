"""Whether this machine can do the work: Python, torch and its device, disk, compiler, git."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from lile.checks.findings import Check, failed, passed, warned
from lile.provenance import git_state, usable_cpus

FOLDERS = ("results", "resources", "work")
COMPILERS = ("c++", "g++", "clang++")
FREE_GB_LEAST = 0.5
FREE_GB_WISHED = 5.0


def check_environment(root: Path) -> Iterator[Check]:
    """Yield what was found of the machine.

    Args:
        root: the working folder, in which results/, resources/ and work/ lie or will lie.
    """
    yield passed("python", platform.python_version())
    yield check_torch()
    for folder in FOLDERS:
        yield check_disk(root / folder)
    yield check_compiler()
    yield check_git(root)


def check_torch() -> Check:
    """Return torch's version and the device that training will use."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return failed("torch", f"cannot be imported ({error})", "run: make setup")
    if torch.cuda.is_available():
        half = "bfloat16" if torch.cuda.is_bf16_supported() else "no bfloat16: precision auto means 32-bit"
        return passed("torch", f"{torch.__version__} on {torch.cuda.get_device_name()} ({half})")
    return passed("torch", f"{torch.__version__} on the CPU, {usable_cpus()} cores; no GPU found")


def check_disk(folder: Path) -> Check:
    """Return whether ``folder`` can be written (or made) and how much room is left there."""
    name = f"disk {folder.name}/"
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        return failed(name, f"{there} is no folder", "move that file away")
    if not os.access(there, os.W_OK | os.X_OK):
        return failed(name, f"{there} cannot be written", "change its permissions, or work in a folder of your own")
    free_gb = shutil.disk_usage(there).free / 1e9
    found = f"{free_gb:.1f} GB free"
    if free_gb < FREE_GB_LEAST:
        return failed(name, found, f"free some space: at least {FREE_GB_LEAST} GB are needed")
    if free_gb < FREE_GB_WISHED:
        return warned(name, found, "token stores of a large archive take more; put results/ on a larger disk")
    return passed(name, found)


def check_compiler() -> Check:
    """Return the C++ compiler that torch can compile kernels with."""
    found = next((path for path in map(shutil.which, COMPILERS) if path), None)
    if found is None:
        return warned("compiler", "no C++ compiler found", "install g++ or clang++: compiled kernels need one")
    return passed("compiler", found)


def check_git(root: Path) -> Check:
    """Return the commit that results will name."""
    state = git_state(root)
    if state["git_commit"] is None:
        return warned("git", "no commit found", "results will not name one; clone the project with git")
    changed = " with uncommitted changes" if state["git_dirty"] else ""
    return passed("git", f"commit {str(state['git_commit'])[:10]}{changed}")
