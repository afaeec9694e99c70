"""Which image-text pairs a fold trains on, and how they fall into batches.

Shapes: P pairs, B pairs of a batch, L tokens, H encoder width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lile.errors import InputError
from lile.evaluation.score import Store, tensors_of
from lile.features.store import TokenStore


@dataclass(frozen=True)
class PairSet:
    """P pairs: row p of each array belongs to pair p."""

    image_rows: np.ndarray
    """Row of the pair's image in the image store."""
    text_rows: np.ndarray
    """Row of the pair's text in the text store."""
    images: np.ndarray
    """An integer per image: pairs of the same image share it."""
    groups: np.ndarray
    """An integer per group."""

    def __len__(self) -> int:
        return len(self.image_rows)


def pair_set(descriptions: pd.DataFrame, image_ids: list[str], images: TokenStore, texts: Store) -> PairSet:
    """Return every description of the given images, paired with its image.

    Raises:
        InputError: fewer than two pairs, or fewer than two groups: nothing could serve as a negative.
    """
    own = descriptions[descriptions["image_id"].isin(set(image_ids))]
    if own["group"].nunique() < 2:
        raise InputError(
            f"{len(image_ids)} training images have {len(own)} descriptions of {own['group'].nunique()} group(s); "
            "training needs at least two groups to draw negatives from"
        )
    return PairSet(
        image_rows=images.rows_of(own["image_id"].tolist()),
        text_rows=texts.rows_of(own["text_id"].tolist()),
        images=pd.factorize(own["image_id"])[0],
        groups=pd.factorize(own["group"])[0],
    )


@dataclass(frozen=True)
class Batch:
    """B pairs on a device."""

    image_tokens: Tensor
    image_keep: Tensor
    text_tokens: Tensor
    text_keep: Tensor
    images: Tensor
    groups: Tensor
    texts: Tensor


def batch_indices(count: int, batch_size: int, seed: int) -> list[np.ndarray]:
    """Return a seeded shuffle of ``range(count)`` cut into batches; a last batch of one joins the one before."""
    order = np.random.default_rng(seed).permutation(count)
    batches = [order[start : start + batch_size] for start in range(0, count, batch_size)]
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [np.concatenate(batches[-2:])]
    return batches


def batches(
    pairs: PairSet, images: TokenStore, texts: Store, batch_size: int, seed: int, device: torch.device
) -> Iterator[Batch]:
    """Yield one epoch of batches in a seeded order; tokens are read from the stores batch by batch."""
    for index in batch_indices(len(pairs), batch_size, seed):
        yield Batch(
            *tensors_of(images, pairs.image_rows[index], device),
            *tensors_of(texts, pairs.text_rows[index], device),
            images=torch.from_numpy(pairs.images[index]).to(device),
            groups=torch.from_numpy(pairs.groups[index]).to(device),
            texts=torch.from_numpy(pairs.text_rows[index]).to(device),
        )
