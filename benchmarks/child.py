"""A measurement in a process of its own, so that its peak of memory is its own.

``python -m benchmarks.child MODULE FUNCTION JSON`` calls the function with the JSON's entries and prints what it
returns, as JSON, on the last line.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import Options
from benchmarks.machine import ROOT

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def in_child(module: str, function: str, options: Options, **arguments: Any) -> dict[str, Any]:
    """Return what ``function(**arguments)`` of a module of this package returns in a new process.

    A tiny run stays in this process: starting one takes seconds.

    Raises:
        subprocess.CalledProcessError: the process failed, or was killed for its memory; its own words are above.
    """
    if options.tiny:
        return getattr(importlib.import_module(module), function)(**arguments)
    text = json.dumps({"threads": options.threads, **arguments})
    words = [sys.executable, "-m", "benchmarks.child", module, function, text]
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


class Peak:
    """The memory that a process comes to hold beyond what it holds now.

    Linux' own high-water mark, set back at the start. ``ru_maxrss`` would not do: it cannot be set back, and a child
    begins with its parent's.
    """

    def __init__(self) -> None:
        _trim()
        self.reset = CLEAR.exists()
        if self.reset:
            CLEAR.write_text("5", encoding="ascii")
        self.before = _status("VmRSS") if self.reset else _maxrss()

    def bytes(self) -> int:
        """Return the bytes held at most since the start, less those held at the start."""
        return max(0, self.total() - self.before)

    def total(self) -> int:
        """Return the bytes of the whole process, held at most since the start."""
        return _status("VmHWM") if self.reset else _maxrss()


def _trim() -> None:
    """Give back what the C library keeps of freed memory: taken again, it would not be seen."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _status(key: str) -> int:
    lines = STATUS.read_text("ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def _maxrss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(words: list[str]) -> None:
    """Do what ``in_child`` asked for."""
    module, function, text = words
    arguments = json.loads(text)
    torch.set_num_threads(arguments.pop("threads"))
    print(json.dumps(getattr(importlib.import_module(module), function)(**arguments)))


if __name__ == "__main__":
    main(sys.argv[1:])
