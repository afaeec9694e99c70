"""Encoded items, as training and evaluation hold them.

Shapes: N items, r vectors of the longest item, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from lile.matching.items import Items


@dataclass(frozen=True, slots=True)
class Encoded:
    """N items as one model encodes them or, in an ensemble, as each of its members does."""

    parts: tuple[Items, ...]

    def __len__(self) -> int:
        """Return N."""
        return len(self.parts[0].vectors)

    def __getitem__(self, run: slice) -> Encoded:
        """Return a run of the items."""
        return Encoded(
            tuple(Items(one.vectors[run], None if one.keep is None else one.keep[run]) for one in self.parts)
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all vectors."""
        return sum(one.vectors.nbytes for one in self.parts)

    @property
    def is_cuda(self) -> bool:
        """Whether they are on a GPU."""
        return self.parts[0].vectors.is_cuda


def joined(batches: Sequence[Items]) -> Items:
    """Return the items of all batches as one, padded to the longest; batches may differ in r."""
    longest = max(batch.vectors.shape[1] for batch in batches)
    vectors_Nrd = torch.cat([pad(batch.vectors, (0, 0, 0, longest - batch.vectors.shape[1])) for batch in batches])
    keeps = [_padded_keep(batch, longest) for batch in batches]
    keep_Nr = torch.cat(keeps)
    return Items(vectors_Nrd, None if bool(keep_Nr.all()) else keep_Nr)


def _padded_keep(batch: Items, longest: int) -> Tensor:
    count, length = batch.vectors.shape[:2]
    keep = batch.keep
    if keep is None:
        keep = torch.ones(count, length, dtype=torch.bool, device=batch.vectors.device)
    return pad(keep, (0, longest - length))
