"""Snakemake, imported once: each line of standard input is a run, in a fork of its own.

Importing Snakemake takes longer than planning with it; the tests plan some sixty times. A line in is a JSON object
{"words": [...], "cwd": folder, "env": {...}, "said": file}, a line out the exit status.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any

from snakemake.cli import main


def run(job: dict[str, Any]) -> int:
    said = os.open(job["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.chdir(job["cwd"])
    os.environ.update(job["env"])
    try:
        main(job["words"])
    except SystemExit as done:
        return int(done.code or 0)
    except BaseException:
        traceback.print_exc()
        return 70
    return 0


if __name__ == "__main__":
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = run(json.loads(line))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201
