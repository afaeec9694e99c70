"""Match logits of many pairs, in runs that a killed evaluation need not compute again.

Shapes: P pairs, B pairs that are read together.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from lile.cross.inputs import PairReader
from lile.cross.model import CrossEncoder
from lile.errors import InputError
from lile.files import replacing

RUN = 2048
"""Pairs of a run. They come in the order of images, so a run meets each of its images' regions often and reads them
once."""
BATCH = 64


@dataclass(frozen=True)
class Runs:
    """Finished runs of logits on disk.

    Args:
        folder: its name stands for what the logits are made from.
    """

    folder: Path

    def path(self, number: int) -> Path:
        """The file of a run."""
        return self.folder / f"logits-{number:06d}.npy"

    def read(self, number: int, count: int) -> np.ndarray | None:
        """Return the run's logits, ``None`` where they are not there, damaged or not as many."""
        try:
            logits = np.load(self.path(number), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return logits if logits.shape == (count,) and bool(np.isfinite(logits).all()) else None

    def write(self, number: int, logits: np.ndarray) -> None:
        """Keep a run, atomically."""
        with replacing(self.path(number)) as part, part.open("wb") as handle:
            np.save(handle, logits)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


@torch.no_grad()
def match_logits(
    model: CrossEncoder,
    reader: PairReader,
    pairs_P2: np.ndarray,
    image_ids: Sequence[str],
    text_ids: Sequence[str],
    *,
    label: str,
    runs: Runs | None = None,
) -> np.ndarray:
    """Return the match logit of each pair, float32 [P], in evaluation mode.

    Args:
        model: is left in the mode it came in.
        reader: of regions and words.
        pairs_P2: rows in ``image_ids`` and columns in ``text_ids``.
        image_ids: N ids.
        text_ids: U ids.
        label: what the progress bar says.
        runs: where finished runs are kept, if anywhere.

    Raises:
        InputError: a logit that is not finite (the pair is named).
    """
    training = model.training
    model.eval()
    logits_P = np.empty(len(pairs_P2), dtype=np.float32)
    try:
        with tqdm(total=len(pairs_P2), desc=label, unit="pair", disable=None, mininterval=1) as bar:
            for number, start in enumerate(range(0, len(pairs_P2), RUN)):
                run = pairs_P2[start : start + RUN]
                logits = runs.read(number, len(run)) if runs else None
                if logits is None:
                    images, texts = [image_ids[i] for i in run[:, 0]], [text_ids[u] for u in run[:, 1]]
                    logits = _run_logits(model, reader, images, texts)
                    _check(logits, images, texts)
                    if runs:
                        runs.write(number, logits)
                logits_P[start : start + RUN] = logits
                bar.update(len(run))
        return logits_P
    finally:
        model.train(training)


def _run_logits(model: CrossEncoder, reader: PairReader, images: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """Score a run; pairs of like length go together, for padding costs as much as words."""
    device = next(model.parameters()).device
    order = np.argsort(reader.words.lengths(texts, images), kind="stable")
    logits = np.empty(len(order), dtype=np.float32)
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        tensors = reader.read([images[b] for b in batch], [texts[b] for b in batch], device)
        logits[batch] = model(*tensors).float().cpu().numpy()
    return logits


def _check(logits: np.ndarray, images: Sequence[str], texts: Sequence[str]) -> None:
    finite = np.isfinite(logits)
    if not finite.all():
        pair = int(finite.argmin())
        raise InputError(
            f"the match logit of image {images[pair]!r} and text {texts[pair]!r} is {logits[pair]}; training diverged "
            "or the image's tokens are damaged: look at history.jsonl and lower training.learning_rate"
        )
