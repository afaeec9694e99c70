"""What every record of a training says of how it came about, whatever was trained."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lile.files import digest_of
from lile.provenance import git_state, host, versions
from lile.training.progress import State


def run_facts(config: Mapping[str, Any], state: State, code: str) -> dict[str, Any]:
    """Return code, versions, machine, times and epochs of a training that has just ended.

    Args:
        config: as the workflow passes it.
        state: at the end of training.
        code: fingerprint.
    """
    machine = host()
    return {
        "config_digest": digest_of(dict(config)),
        "code": code,
        **git_state(Path(__file__).parent),
        "versions": versions(),
        "device": machine.get("device", "cpu"),
        "host": machine,
        "threads": torch.get_num_threads(),
        "started_unix": state.started_unix,
        "ended_unix": time.time(),
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "interruptions": state.interruptions,
    }
