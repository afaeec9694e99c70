"""Stored tokens -> maps -> the score matrix of a part that is small enough to be held in memory.

Shapes: N images, U unique texts, B items of a batch, m maps, d width. What may be large goes through
:mod:`lile.evaluation.stream`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lile.errors import InputError
from lile.evaluation.grid import Grid
from lile.features.store import TokenStore

if TYPE_CHECKING:
    from lile.models.lile import LILE

ENCODE_BATCH = 128  # items encoded at a time


def tensors_of(store: TokenStore, rows: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """Read items of a store as float32 tokens [B, L, H] (padded) and their keep mask [B, L] on ``device``."""
    tokens, keep = store.read(rows)
    return torch.from_numpy(tokens).to(device).float(), torch.from_numpy(keep).to(device)


def encode_store(encode: Callable[[Tensor, Tensor], Tensor], store: TokenStore, ids: Sequence[str]) -> Tensor:
    """Encode stored items into maps [n, m, d], in the order of ``ids``, on the encoder's device.

    Args:
        encode: ``model.encode_images`` or ``model.encode_texts`` of a model in evaluation mode.
        store: holds every id.
        ids: image ids or text ids.

    Raises:
        InputError: an id is not in the store, or its maps are not finite.
    """
    rows = store.rows_of(ids)
    device = next(encode.__self__.parameters()).device  # type: ignore[attr-defined]
    parts = []
    for start in range(0, len(rows), ENCODE_BATCH):
        batch = slice(start, start + ENCODE_BATCH)
        parts.append(encode(*tensors_of(store, rows[batch], device)).float())
        _check_maps(parts[-1], ids[batch])
    return torch.cat(parts)


def _check_maps(maps_Bmd: Tensor, ids: Sequence[str]) -> None:
    finite_B = torch.isfinite(maps_Bmd).flatten(1).all(dim=1)
    if bool(finite_B.all()):
        return
    raise InputError(
        f"evaluation: the maps of {ids[int(finite_B.int().argmin())]!r} are not finite, so no score of it is; "
        "training diverged or its tokens are damaged: look at history.jsonl and lower training.learning_rate"
    )


@torch.no_grad()
def score_matrix(
    model: LILE,
    image_store: TokenStore,
    text_store: TokenStore,
    image_ids: Sequence[str],
    text_ids: Sequence[str],
    *,
    label: str = "scoring",
) -> np.ndarray:
    """Return S [N, U] float32 of every image with every unique text (Eq. 7), in evaluation mode.

    Args:
        model: is left in the mode it came in.
        image_store: tokens of the images.
        text_store: tokens of the texts.
        image_ids: N ids, the rows.
        text_ids: U ids without repeats, the columns.
        label: what the progress bar says.

    Raises:
        InputError: an id is not in its store, or its maps are not finite.
    """
    was_training = model.training
    model.eval()
    try:
        images = encode_store(model.encode_images, image_store, image_ids)
        texts = encode_store(model.encode_texts, text_store, text_ids)
        return _in_blocks(model, images, texts, label)
    finally:
        model.train(was_training)


def _in_blocks(model: LILE, images_Nmd: Tensor, texts_Umd: Tensor, label: str) -> np.ndarray:
    scores_NU = np.empty((len(images_Nmd), len(texts_Umd)), dtype=np.float32)
    with tqdm(total=scores_NU.size, desc=label, unit="pair", unit_scale=True, disable=None, mininterval=1) as bar:
        for block in Grid(*scores_NU.shape):
            scores_RC = model.scores(images_Nmd[block.rows], texts_Umd[block.columns])
            scores_NU[block.rows, block.columns] = scores_RC.cpu().numpy()
            bar.update(block.pairs)
    return scores_NU
