"""The record of an ensemble's fold: its members' scores are averaged, nothing is trained."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lile.errors import InputError
from lile.files import digest_of, sha256_of, write_json
from lile.provenance import git_state, host, versions
from lile.training.progress import write_history


def combine_fold(config: Mapping[str, Any], runs: Sequence[Path], out: Path, code: str) -> None:
    """Write ``run.json`` and an empty ``history.jsonl`` of an ensemble's fold into ``out``.

    Args:
        config: ``dataset, model, fold, members``.
        runs: ``run.json`` of each member's fold, in the order of ``members``.
        out: the folder.
        code: fingerprint of the code, for the record.

    Raises:
        InputError: members that read other encoders, or other words of the same texts.
    """
    members = [json.loads(path.read_text(encoding="utf-8")) for path in runs]
    encoders = members[0]["encoders"]
    for other in members[1:]:
        if other["encoders"] != encoders:
            raise InputError(
                f"models.{config['model']}.members: {members[0]['model']} and {other['model']} read other encoders or "
                "vocabularies; an ensemble averages the scores of rows that read the same"
            )
    started = time.time()
    record = {
        **{name: config[name] for name in ("dataset", "model")},
        "fold": int(config["fold"]),
        "seed": members[0]["seed"],
        "preset": members[0]["preset"],
        "config": {"members": {one["model"]: one["config"] for one in members}},
        "config_digest": digest_of(dict(config)),
        "code": code,
        **git_state(Path(__file__).parent),
        "versions": versions(),
        "device": members[0]["device"],
        "host": host(),
        "threads": members[0]["threads"],
        "started_unix": started,
        "ended_unix": time.time(),
        "epochs": 0,
        "best_epoch": 0,
        "parameters": sum(one["parameters"] for one in members),
        "encoders": encoders,
        "inputs": {**members[0]["inputs"], **{str(path): sha256_of(path) for path in runs}},
        "interruptions": 0,
    }
    write_history(out / "history.jsonl", [])
    write_json(out / "run.json", record)
