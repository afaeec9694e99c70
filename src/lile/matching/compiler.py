"""``native.cpp`` compiled once for this machine's processor and loaded; None where that cannot be.

The library lies in ``$LILE_CACHE``, else in ``lile`` under ``$XDG_CACHE_HOME`` or ``~/.cache``. Its name holds a digest
of source, compiler, flags and processor: machines of a cluster that share a home do not load each other's code.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lile.files import replacing

SOURCE = Path(__file__).with_name("native.cpp")
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fno-math-errno", "-shared", "-fPIC")
COMPILERS = ("c++", "g++", "clang++")


@dataclass(frozen=True)
class Library:
    """The compiled code."""

    path: Path
    lanes: int
    """Floats of a vector register."""
    cross: Callable[..., int]
    """``lile_cross`` of native.cpp."""
    cross_gradient: Callable[..., int]
    """``lile_cross_gradient`` of native_gradient.h."""


@cache
def native_library() -> Library | None:
    """Return the compiled engine; None, said once in the log, where no compiler works or LILE_NATIVE=0 is set."""
    log = logging.getLogger("lile.matching")
    if os.environ.get("LILE_NATIVE", "1") == "0":
        log.info("LILE_NATIVE=0: scores are computed in plain PyTorch, which is slower")
        return None
    try:
        return _library()
    except (OSError, subprocess.SubprocessError, AttributeError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        log.warning(
            "scores are computed in plain PyTorch, which is slower: native.cpp did not compile (%s)", reason.strip()
        )
        return None


def _library() -> Library:
    """Load the library, compiled first if it is not there or was cut short. Raises ``OSError``, ``SubprocessError``."""
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        raise FileNotFoundError(f"none of {', '.join(COMPILERS)} is installed")
    version = subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True).stdout
    parts = sorted(SOURCE.parent.glob("native*.h"))
    named = [*(part.read_text("utf-8") for part in (SOURCE, *parts)), version, " ".join(FLAGS), _processor()]
    path = _folder() / f"native-{hashlib.sha256(chr(0).join(named).encode()).hexdigest()[:16]}.so"
    if path.exists():
        try:
            return _load(path)
        except OSError:
            path.unlink(missing_ok=True)
    _compile(compiler, path)
    return _load(path)


def _compile(compiler: str, path: Path) -> None:
    """Compile to ``path``. Raises ``OSError`` or ``SubprocessError``."""
    with replacing(path) as part:  # jobs that start together may each compile; the rename is whole
        command = [compiler, *FLAGS, str(SOURCE), "-o", str(part)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)


def _load(path: Path) -> Library:
    library: Any = ctypes.CDLL(str(path))
    cross, gradient = library.lile_cross, library.lile_cross_gradient
    common = [ctypes.c_void_p] * 5 + [ctypes.c_int64] * 4 + [ctypes.c_void_p, ctypes.c_int64]
    cross.argtypes, gradient.argtypes = common, [*common, ctypes.c_void_p, ctypes.c_void_p]
    cross.restype = gradient.restype = ctypes.c_int
    return Library(path, int(library.lile_lanes()), cross, gradient)


def _processor() -> str:
    """Return what -march=native depends on."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return f"{platform.machine()} {platform.processor()}"
    lines = cpuinfo.read_text("utf-8", errors="replace").splitlines()
    told = [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))]
    return "\n".join(dict.fromkeys(told))


def _folder() -> Path:
    """Return a folder that can be written: the user's cache, else a temporary one of this process."""
    asked = os.environ.get("LILE_CACHE")
    try:
        folder = Path(asked) if asked else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lile"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: no home, as for a container's user whom no one has named
        if asked:
            raise
        return Path(tempfile.mkdtemp(prefix="lile-"))
