"""Where a result comes from: versions, the commit, the machine. Needs neither snakemake nor mlflow."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

PACKAGES = ("torch", "timm", "transformers", "lightning", "h5py", "numpy", "pandas", "lile")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that shape a result; an absent one is ``"absent"``.

    Read from the installed packages' metadata, so that nothing is imported.
    """
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def git_state(root: Path) -> dict[str, str | bool | None]:
    """Return ``{"git_commit": hash, "git_dirty": bool}`` of the checkout around ``root``.

    ``git_dirty`` is about tracked files, as in ``git describe --dirty``. Both are ``None`` where there is no git, no
    checkout, or no commit yet: a run must never fail for this.
    """
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no") if commit else None
    return {"git_commit": commit or None, "git_dirty": None if changes is None else bool(changes)}


def host() -> dict[str, str | int]:
    """Return the machine's name, its usable CPU count, its platform and, once torch is imported, its device."""
    found: dict[str, str | int] = {
        "hostname": platform.node(),
        "cpus": usable_cpus(),
        "platform": platform.platform(),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        found["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return found


def usable_cpus() -> int:
    """Return how many CPUs this process may use: a cluster's job sees its share, not the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _git(root: Path, *words: str) -> str | None:
    """Return what git prints, or ``None`` where it cannot say."""
    # No optional locks: `git status` would otherwise take index.lock beside a user's own git command.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=20, check=True, env=environment
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
