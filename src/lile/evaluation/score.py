"""Stored tokens -> vectors -> the score matrix of a part that is small enough to be held in memory.

Shapes: N images, U unique texts, B items of a batch, r vectors of the longest item, d width. What may be large goes
through :mod:`lile.evaluation.stream`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lile.errors import InputError
from lile.evaluation.grid import Grid
from lile.features.store import TokenStore
from lile.features.word_store import WordStore
from lile.matching.items import Items
from lile.models.encoded import Encoded, joined

if TYPE_CHECKING:
    from lile.evaluation.inputs import FoldInputs

Store = TokenStore | WordStore
"""What a side's items are read from: stored tokens, or the words of texts."""

ENCODE_BATCH = 128  # items encoded at a time


def tensors_of(store: Store, rows: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """Read items of a store: float32 tokens [B, L, H] or int64 words [B, L], padded, and keep [B, L] on ``device``."""
    tokens, keep = (torch.from_numpy(part).to(device) for part in store.read(rows))
    return tokens.float() if tokens.is_floating_point() else tokens, keep


def encode_store(
    encode: Callable[[Tensor, Tensor], Items], store: Store, ids: Sequence[str], device: torch.device
) -> Items:
    """Encode stored items into vectors [n, r, d], in the order of ``ids``.

    Args:
        encode: ``model.encode_images`` or ``model.encode_texts`` of a model in evaluation mode.
        store: holds every id.
        ids: image ids or text ids.
        device: where the model is.

    Raises:
        InputError: an id is not in the store, or its vectors are not finite.
    """
    rows = store.rows_of(ids)
    parts = []
    for start in range(0, len(rows), ENCODE_BATCH):
        batch = slice(start, start + ENCODE_BATCH)
        items = encode(*tensors_of(store, rows[batch], device))
        parts.append(Items(items.vectors.float(), items.keep))
        _check_vectors(parts[-1].vectors, ids[batch])
    return joined(parts)


def _check_vectors(vectors_Brd: Tensor, ids: Sequence[str]) -> None:
    finite_B = torch.isfinite(vectors_Brd).flatten(1).all(dim=1)
    if bool(finite_B.all()):
        return
    raise InputError(
        f"evaluation: the vectors of {ids[int(finite_B.int().argmin())]!r} are not finite, so no score of it is; "
        "training diverged or its tokens are damaged: look at history.jsonl and lower training.learning_rate"
    )


@dataclass(frozen=True)
class Scorer:
    """One trained model on its stores, or the members of an ensemble, whose mean score is the pair's.

    Args:
        members: each with its model in evaluation mode on ``device``.
        device: where the models are.
    """

    members: Sequence[FoldInputs]
    device: torch.device

    def images(self, ids: Sequence[str]) -> Encoded:
        """Return these images as each member encodes them."""
        return Encoded(
            tuple(encode_store(one.model.encode_images, one.image_store, ids, self.device) for one in self.members)
        )

    def texts(self, ids: Sequence[str]) -> Encoded:
        """Return these texts as each member encodes them."""
        return Encoded(
            tuple(encode_store(one.model.encode_texts, one.text_store, ids, self.device) for one in self.members)
        )

    def scores(self, images: Encoded, texts: Encoded) -> Tensor:
        """Return S [N, U] of every image with every text: the mean over the members."""
        each = [one.model.scores(*sides) for one, *sides in zip(self.members, images.parts, texts.parts, strict=True)]
        return torch.stack(each).mean(dim=0) if len(each) > 1 else each[0]


def compute_device() -> torch.device:
    """Return the GPU, where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@torch.no_grad()
def score_matrix(scorer: Scorer, image_ids: Sequence[str], text_ids: Sequence[str], *, label: str) -> np.ndarray:
    """Return S [N, U] float32 of every image with every unique text, in evaluation mode.

    Args:
        scorer: its models are left in the mode they came in.
        image_ids: N ids, the rows.
        text_ids: U ids without repeats, the columns.
        label: what the progress bar says.

    Raises:
        InputError: an id is not in its store, or its vectors are not finite.
    """
    training = [one.model for one in scorer.members if one.model.training]
    for model in training:
        model.eval()
    try:
        images, texts = scorer.images(image_ids), scorer.texts(text_ids)
        scores_NU = np.empty((len(images), len(texts)), dtype=np.float32)
        with tqdm(total=scores_NU.size, desc=label, unit="pair", unit_scale=True, disable=None, mininterval=1) as bar:
            for block in Grid(*scores_NU.shape):
                scores_RC = scorer.scores(images[block.rows], texts[block.columns])
                scores_NU[block.rows, block.columns] = scores_RC.cpu().numpy()
                bar.update(block.pairs)
        return scores_NU
    finally:
        for model in training:
            model.train()
