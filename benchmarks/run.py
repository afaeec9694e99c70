"""Measure: ``python -m benchmarks.run`` or ``make bench``. Tables and plots go to benchmarks/results/."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import report
from benchmarks.harness import Options, Result
from benchmarks.machine import ROOT, machine

SECTIONS = ("pairs", "training", "gpu", "size", "fold", "bfloat16", "store", "memory", "features", "epoch")


def main(words: Sequence[str] | None = None) -> int:
    """Run the sections that are asked for and print where their files are; return the exit code."""
    asked = _arguments(words)
    options = Options(threads=asked.threads, tiny=asked.tiny, long=asked.long, repeats=asked.repeats)
    torch.set_num_threads(options.threads)
    measured_on = machine(options.threads)  # once, before anything is written
    for name in asked.sections or SECTIONS:
        started = time.perf_counter()
        print(f"{name}: measuring", flush=True)
        found: Result | None = importlib.import_module(f"benchmarks.{name}").measure(options)
        if found is None:
            continue  # the section has said why
        if options.tiny:
            found = replace(found, title=f"{found.title} (tiny sizes: a test of the benchmark, not of the engine)")
        paths = report.write(asked.results, name, found, measured_on)
        print(f"{report.table(found.rows)}\n{name}: {time.perf_counter() - started:.0f} s, {paths[0]}", flush=True)
    return 0


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="section", help=f"which of {', '.join(SECTIONS)}; all if none")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of PyTorch and the engine")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of each comparison")
    parser.add_argument("--long", action="store_true", help="also what takes many minutes")
    parser.add_argument("--tiny", action="store_true", help="sizes that only test the benchmark itself")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the files")
    asked = parser.parse_args(words)
    if unknown := sorted(set(asked.sections) - set(SECTIONS)):
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    if min(asked.threads, asked.repeats) < 1:
        parser.error("--threads and --repeats must be at least 1")
    return asked


if __name__ == "__main__":
    sys.exit(main())
