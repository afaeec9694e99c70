"""What survives a kill: a checkpoint after each epoch, the best weights, the history so far.

They live in a folder that Snakemake does not know (it deletes declared outputs at each start), named after config and
code, so that a checkpoint of another config or code is never resumed.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lile.files import replacing, write_text
from lile.models.weights import write_weights

log = logging.getLogger(__name__)
FORMAT = 1


@dataclass
class State:
    """Where a training stands, at the end of an epoch."""

    epoch: int = 0
    """Epochs done."""
    best_value: float = -1.0
    """Of the validation figure that chooses the epoch; none is below 0."""
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    interruptions: int = 0
    """How often this training was started again after a kill."""
    started_unix: float = 0.0


@dataclass
class Progress:
    """A training's progress folder.

    Args:
        folder: is made where missing.
    """

    folder: Path

    @property
    def checkpoint(self) -> Path:
        """The last epoch's checkpoint."""
        return self.folder / "last.pt"

    def best_weights(self, epoch: int) -> Path:
        """The weights of an epoch that was the best when it ended."""
        return self.folder / f"best-{epoch:04d}.safetensors"

    def save(self, state: State, parts: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        """Write the checkpoint; if this epoch is the best so far, its weights first.

        Args:
            state: after the epoch; its ``best_epoch`` equals ``epoch`` when it is the best.
            parts: objects with ``state_dict`` (model, optimiser, schedule).
            weights: the model's tensors, without copies.

        Raises:
            OSError: a full disk, say; the checkpoint before stays in place.
        """
        if state.best_epoch == state.epoch:
            write_weights(self.best_weights(state.epoch), weights, {})
        with replacing(self.checkpoint) as part:
            tensors = {name: value.state_dict() for name, value in parts.items()}
            torch.save({"format": FORMAT, "state": vars(state), "parts": tensors}, part)
        write_history(self.folder / "history.jsonl", state.history)
        for old in self.folder.glob("best-*.safetensors"):
            if old != self.best_weights(state.best_epoch):
                old.unlink()

    def remove(self) -> None:
        """Remove the folder, the checkpoint first: a kill in between then starts anew, not from a ruin."""
        self.checkpoint.unlink(missing_ok=True)
        if self.folder.exists():  # a row without training has none
            shutil.rmtree(self.folder)  # with what a killed process may have left half written

    def resume(self, parts: Mapping[str, Any], device: torch.device) -> State:
        """Load the last checkpoint into ``parts``, if there is one; return where training stands."""
        if not self.checkpoint.exists():
            return State()
        saved = torch.load(self.checkpoint, map_location=device, weights_only=True)
        for name, value in parts.items():
            value.load_state_dict(saved["parts"][name])
        state = State(**saved["state"])
        state.interruptions += 1
        log.info("resuming after epoch %d (interruption %d)", state.epoch, state.interruptions)
        return state


def write_history(path: Path, history: list[dict[str, Any]]) -> None:
    """Write one JSON object per epoch and line, atomically."""
    write_text(path, "".join(json.dumps(entry, sort_keys=True, allow_nan=False) + "\n" for entry in history))
