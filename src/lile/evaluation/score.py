"""The score matrix of one split: stored tokens -> maps -> S, with progress shown.

Shapes: N images, U unique texts, m maps, d width.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lile.features.store import TokenStore

if TYPE_CHECKING:
    from lile.models.lile import LILE

ENCODE_BATCH = 128  # items encoded at a time
BLOCK = 256  # images and texts of one block of scores


def tensors_of(store: TokenStore, rows: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """Read items of a store as float32 tokens [B, L, H] (padded) and their keep mask [B, L] on ``device``."""
    tokens, keep = store.read(rows)
    return torch.from_numpy(tokens).to(device).float(), torch.from_numpy(keep).to(device)


def encode_store(encode: Callable[[Tensor, Tensor], Tensor], store: TokenStore, ids: Sequence[str]) -> Tensor:
    """Encode stored items into maps [n, m, d], in the order of ``ids``, on the encoder's device.

    Args:
        encode: ``model.encode_images`` or ``model.encode_texts`` of a model in evaluation mode.
        store: holds every id; else :class:`~lile.errors.InputError` names the missing one.
        ids: image ids or text ids.
    """
    rows = store.rows_of(ids)
    device = next(encode.__self__.parameters()).device  # type: ignore[attr-defined]
    parts = [
        encode(*tensors_of(store, rows[start : start + ENCODE_BATCH], device))
        for start in range(0, len(rows), ENCODE_BATCH)
    ]
    return torch.cat(parts).float()


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
        InputError: an id is not in its store.
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
    starts = itertools.product(range(0, len(images_Nmd), BLOCK), range(0, len(texts_Umd), BLOCK))
    with tqdm(total=scores_NU.size, desc=label, unit="pair", unit_scale=True, disable=None, mininterval=1) as bar:
        for row, column in starts:
            block = model.scores(images_Nmd[row : row + BLOCK], texts_Umd[column : column + BLOCK])
            scores_NU[row : row + BLOCK, column : column + BLOCK] = block.cpu().numpy()
            bar.update(block.numel())
    return scores_NU
