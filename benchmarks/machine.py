"""What a figure was measured on and with."""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
from pathlib import Path

import torch

from lile.matching.compiler import COMPILERS, native_library
from lile.provenance import git_state, usable_cpus

ROOT = Path(__file__).resolve().parents[1]
OURS = ":(exclude)benchmarks/results"  # what a section writes does not change what the next one measures


def machine(threads: int) -> dict[str, str | int]:
    """Return processor, memory, versions, commit and date; the machine's name is nobody's business."""
    found: dict[str, str | int] = {
        "cpu": _cpu(),
        "cores": usable_cpus(),
        "threads": threads,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "torch": torch.__version__,
        "compiler": _compiler(),
        "engine": "native.cpp" if native_library() else "plain PyTorch",
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    return found


def processor_flags() -> set[str]:
    """Return the processor's features as Linux names them; empty elsewhere."""
    return set(_cpuinfo("flags").split())


def _cpu() -> str:
    words = [_cpuinfo("model name") or "unknown"]
    flags = processor_flags()
    words += [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    return " ".join(words)


def _cpuinfo(key: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _compiler() -> str:
    name = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if name is None:
        return "none"
    done = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[0] if done.stdout else "unknown"


def _commit() -> str:
    commit = git_state(ROOT)["git_commit"]
    if not isinstance(commit, str):
        return "unknown"
    words = ["git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no", "--", ".", OURS]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return commit[:12] + (" with changes" if done.stdout.strip() else "")
