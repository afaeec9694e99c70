"""What the matcher is given: sets of vectors, ragged or not, checked before anything is computed.

Shapes: N items, r vectors of the longest item, d width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lile.errors import InputError


class Items(NamedTuple):
    """N sets of vectors. Vectors that are not kept are zero."""

    vectors: Tensor
    """[N, r, d]"""
    keep: Tensor | None
    """[N, r] True where a vector is there; None where every item has r of them."""


def kept_first(keep_Nr: Tensor) -> Tensor:
    """Return each item's places [N, r], those of the vectors that are there in front, in their order."""
    return (~keep_Nr).int().argsort(dim=1, stable=True)


def checked_items(name: str, vectors: Tensor, keep: Tensor | None, width: int) -> Items:
    """Return the items, with what is not kept set to zero.

    Args:
        name: what the messages call the argument: ``images`` or ``texts``.
        vectors: [N, r, d], floating point.
        keep: [N, r] booleans, or None for all.
        width: d.

    Raises:
        InputError: a wrong number of dimensions, width, type or mask; an item without a vector; a number that is
            not finite. The message names the argument, the item and what it held.
    """
    if vectors.ndim != 3 or vectors.shape[2] != width:
        raise InputError(f"{name}: expected [items, vectors, {width}], found {list(vectors.shape)}")
    if not vectors.is_floating_point():
        raise InputError(f"{name}: expected floating point vectors, found {vectors.dtype}")
    if keep is not None:
        _check_keep(name, vectors, keep)
        if not bool(keep.all()):
            vectors = vectors.masked_fill(~keep[..., None], 0.0)
        else:
            keep = None
    elif vectors.shape[1] == 0:
        raise InputError(f"{name}: items hold no vector at all, shape {list(vectors.shape)}; give each at least one")
    _check_finite(name, vectors)
    return Items(vectors, keep)


def _check_keep(name: str, vectors: Tensor, keep: Tensor) -> None:
    if keep.shape != vectors.shape[:2]:
        raise InputError(f"{name}_keep: expected {list(vectors.shape[:2])} as {name} has, found {list(keep.shape)}")
    if keep.dtype != torch.bool:
        raise InputError(f"{name}_keep: expected booleans, found {keep.dtype}")
    empty = ~keep.any(dim=1)
    if bool(empty.any()):
        raise InputError(f"{name}_keep: item {int(empty.int().argmax())} keeps no vector; give each item at least one")


def _check_finite(name: str, vectors: Tensor) -> None:
    if bool(torch.isfinite(vectors.detach().sum())):  # one pass: a sum is finite only if all its terms are
        return
    finite = torch.isfinite(vectors.detach())
    if bool(finite.all()):
        return  # the sum overflowed, the numbers did not
    item, vector, column = (int(place) for place in (~finite).nonzero()[0])
    raise InputError(
        f"{name}: item {item}, vector {vector}, dimension {column} is {float(vectors[item, vector, column].detach())}; "
        "every number must be finite"
    )
