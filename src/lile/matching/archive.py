"""Items made ready to be searched, or to search: what is computed once per item, whatever is asked later.

Shapes: Q queries, A items of the archive, r vectors of an item, d width.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lile.errors import InputError
from lile.matching.bound import Cones, cones_of
from lile.matching.items import Items, checked_items
from lile.matching.sides import Side, SideName, direct_term
from lile.values import one_of

if TYPE_CHECKING:
    from lile.matching.matcher import IterativeMatching


@dataclass(frozen=True)
class Prepared:
    """Items of one side: an :class:`Archive`, or the queries to one."""

    side: SideName
    items: Items
    """Checked vectors [A, r, d] and masks, without a graph."""
    ready: Side | None
    """What the cross terms need of each item; None where it is computed for each use anew."""
    factors: tuple[Tensor, ...]
    """[A, d] per direction, image asks first: inner products with the other side's sum to the direct term. Empty where
    the model has none."""
    cones: tuple[Cones | None, ...]
    """Per direction: where these items are asked in it, the cones their vectors lie in."""

    def __len__(self) -> int:
        return len(self.items.vectors)

    @property
    def counts(self) -> Tensor:
        """Vectors of each item, [A]."""
        vectors, keep = self.items
        return vectors.new_full((len(vectors),), vectors.shape[1]) if keep is None else keep.sum(1)

    def sides(self, matcher: IterativeMatching, index: Tensor | slice) -> Side:
        """Return what the cross terms need of some of the items."""
        if self.ready is not None:
            return self.ready[index]
        vectors, keep = self.items
        return matcher.side(Items(vectors[index], None if keep is None else keep[index]), self.side)


@dataclass(frozen=True)
class Archive(Prepared):
    """What is searched. Made once by :meth:`of`; each search then prepares its queries only."""

    matcher: IterativeMatching
    versions: tuple[int, ...]
    """Of the matcher's parameters when the archive was made: trained further, they no longer fit it."""
    first: Tensor
    """[A]: the first item with the very same vectors. A matrix product may give equal columns values that differ in
    the last bit; so equal items are given the first one's value, and are ties."""

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        matcher: IterativeMatching,
        items: Tensor,
        keep: Tensor | None = None,
        *,
        side: SideName,
        ready: bool = True,
    ) -> Archive:
        """Return the archive of ``items``.

        Args:
            matcher: the model's matcher, trained.
            items: vectors [A, r, d].
            keep: [A, r] True where a vector is there; None where all are.
            side: which side of the matcher the items are: ``image`` or ``text``.
            ready: keep what the cross terms need of each item: at K > 1 some 4 r d numbers beside the vectors' own
                r d. Without it each search computes that again for its shortlists: less memory, slower.

        Raises:
            InputError: an unknown side, an empty archive, vectors or a mask that do not fit, a number not finite.
        """
        one_of("side", side, SideName)
        if len(items) == 0:
            raise InputError(f"archive: no item in it, shape {list(items.shape)}; give at least one")
        with torch.autocast(items.device.type, enabled=False):
            made = prepared(matcher, "archive", items, keep, side, ready)
        return cls(**vars(made), matcher=matcher, versions=_versions(matcher), first=_first_alike(made.items))

    def asked_by(self, queries: Tensor, keep: Tensor | None, ready: bool = True) -> Prepared:
        """Return queries [Q, r, d] prepared, in the archive's precision.

        Raises:
            InputError: no query, vectors or a mask that do not fit, or a matcher that was trained further since.
        """
        if self.versions != _versions(self.matcher):
            raise InputError("archive: its matcher was changed after it was made; make the archive again")
        if queries.device != self.items.vectors.device:
            raise InputError(f"queries are on {queries.device}, the archive on {self.items.vectors.device}; move one")
        if len(queries) == 0:
            raise InputError(f"queries: none, shape {list(queries.shape)}; give at least one")
        if queries.is_floating_point():
            queries = queries.to(self.items.vectors.dtype)
        return prepared(self.matcher, "queries", queries, keep, "text" if self.side == "image" else "image", ready)


def prepared(
    matcher: IterativeMatching, name: str, vectors: Tensor, keep: Tensor | None, side: SideName, ready: bool
) -> Prepared:
    """Check items and compute what is needed of each.

    Args:
        matcher: holds the gates and the knobs.
        name: what messages call the argument.
        vectors: [A, r, d].
        keep: [A, r] or None.
        side: which side they are.
        ready: compute what the cross terms need.

    Raises:
        InputError: see :func:`lile.matching.items.checked_items`.
    """
    config = matcher.config
    if vectors.dtype in (torch.float16, torch.bfloat16):
        vectors = vectors.float()
    items = checked_items(name, vectors.detach(), keep, matcher.width)
    factors: tuple[Tensor, ...] = ()
    cones: tuple[Cones | None, ...] = ()
    if config.direct != "none":
        askers = [asker for asker, asks in (("image", config.image_asks), ("text", config.text_asks)) if asks]
        as_images, as_texts = direct_term(items, items, config.direct, config.queries)
        factors = (as_images if side == "image" else as_texts).split(matcher.width, dim=-1)
        cones = tuple(None if asker == side else cones_of(items, f) for asker, f in zip(askers, factors, strict=True))
    return Prepared(side, items, matcher.side(items, side) if ready else None, factors, cones)


def _first_alike(items: Items) -> Tensor:
    """Return [A]: for each item the first with the same vectors and mask."""
    seen: dict[bytes, int] = {}
    first = []
    for place, vectors in enumerate(items.vectors):
        digest = hashlib.blake2b(vectors.cpu().contiguous().numpy().tobytes(), digest_size=16)
        if items.keep is not None:
            digest.update(items.keep[place].cpu().numpy().tobytes())
        first.append(seen.setdefault(digest.digest(), place))
    return torch.tensor(first, device=items.vectors.device)


def _versions(matcher: IterativeMatching) -> tuple[int, ...]:
    return tuple(parameter._version for parameter in matcher.parameters())
