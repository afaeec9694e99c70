"""Which held-out images have a twin on the other side of a fold: rows of ``leaks.csv``, counts of ``leaks.json``.

Counted are images, not pairs: a caption under a thousand images makes half a million pairs, and says nothing more. For
each fold, held-out image, other part and kind the nearest twin is named.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lile.data.groups import UnionFind
from lile.data.links import HASH_BITS, NEAR_IMAGE, SAME_PIXELS, SAME_TEXT, Link, links_of
from lile.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

BOTH = "both"
LEAK_KINDS = (SAME_PIXELS, NEAR_IMAGE, SAME_TEXT, BOTH)
"""What a twin shares: the picture, nearly the picture, a text, picture (or nearly) and text."""
SIDES = (("test", "train"), ("test", "validation"), ("validation", "train"))
"""(held out, where a twin flatters)."""


class Leak(NamedTuple):
    """One row of leaks.csv."""

    fold: str
    kind: str
    image_a: str
    """The held-out image."""
    image_b: str
    """Its nearest twin of this kind on the other side."""
    roles: str
    """``test-train``, ``test-validation`` or ``validation-train``: of a, of b."""
    distance: str
    """Bits of the perceptual hash; empty for a shared text."""


LEAK_COLUMNS = Leak._fields


class _Twins:
    """What each image shares with others, from the links of duplicates.csv; only images with a link are in it."""

    def __init__(self, links: Sequence[Link]) -> None:
        self.picture, self.look = (_classes(links, looks) for looks in (False, True))
        self.near: dict[int, list[tuple[int, int]]] = {look: [(0, look)] for look in set(self.look.values())}
        """Class of equal hashes -> (bits, class) of those near it and of itself, nearest first."""
        self.texts: dict[str, set[str]] = defaultdict(set)
        for link in links:
            if link.kind == SAME_TEXT:
                self.texts[link.image_a].add(link.key)
                self.texts[link.image_b].add(link.key)
            elif link.kind == NEAR_IMAGE and link.distance != "0":
                one, other, bits = self.look[link.image_a], self.look[link.image_b], int(link.distance)
                self.near[one].append((bits, other))
                self.near[other].append((bits, one))
        for neighbours in self.near.values():
            neighbours.sort()


def find_leaks(folds: pd.DataFrame, duplicates: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Find the held-out images with a twin in another part, in every fold.

    Args:
        folds: ``image_id, fold_0, ...`` with cells train | validation | test. A fold with the same parts as an earlier
            one (another seed) is not counted again.
        duplicates: columns DUPLICATE_COLUMNS.

    Returns:
        ``(rows, counts)``: rows with the columns LEAK_COLUMNS; counts ``{"images", "hash_bits", "repeats": {fold:
        first}, "folds": {fold: {roles: count}}, "test": count}``, where a count is ``{"images": held out, "any": of
        these with a twin, and one number per LEAK_KINDS}`` and ``test`` sums ``test-train`` over the folds.

    Raises:
        InputError: a duplicate that is in no fold.
    """
    import pandas as pd

    twins = _Twins(links_of(duplicates))
    ids = folds["image_id"].tolist()
    unknown = next(iter(twins.picture.keys() - set(ids)), None)
    if unknown is not None:
        raise InputError(f"duplicates.csv names image {unknown!r}, folds.csv does not; run the workflow again")
    repeats = _repeats(folds)
    rows: list[Leak] = []
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for name in [name for name in folds.columns[1:] if name not in repeats]:
        fold, roles = name.removeprefix("fold_"), dict(zip(ids, folds[name], strict=True))
        sizes = Counter(roles.values())
        found = {side: [*_of_fold(fold, roles, twins, *side)] for side in SIDES}
        counts[fold] = {"-".join(side): _counted(leaks, sizes[side[0]]) for side, leaks in found.items()}
        rows += [leak for leaks in found.values() for leak in leaks]
    total = Counter[str]()
    for sides in counts.values():
        total.update(sides["test-train"])
    frame = pd.DataFrame(rows, columns=list(LEAK_COLUMNS), dtype=str)
    said = {late.removeprefix("fold_"): early.removeprefix("fold_") for late, early in repeats.items()}
    facts = {"images": len(ids), "hash_bits": HASH_BITS, "repeats": said}
    return frame, facts | {"folds": counts, "test": dict(total)}


def _classes(links: Sequence[Link], looks: bool) -> dict[str, int]:
    """Return the class of equal pictures (``looks``: of equal hashes) of each linked image."""
    sets, place = UnionFind(), dict[str, int]()
    for link in links:
        for image in (link.image_a, link.image_b):
            if image not in place:
                place[image] = sets.add()
        if link.kind == SAME_PIXELS or (looks and link.kind == NEAR_IMAGE and link.distance == "0"):
            sets.union(place[link.image_a], place[link.image_b])
    return {image: sets.find(number) for image, number in place.items()}


def _repeats(folds: pd.DataFrame) -> dict[str, str]:
    """Return, for each column that repeats an earlier one, that one's name."""
    firsts: dict[bytes, str] = {}
    repeats = {}
    for name in folds.columns[1:]:
        cells = "\n".join(folds[name]).encode()
        first = firsts.setdefault(cells, str(name))
        if first != name:
            repeats[str(name)] = first
    return repeats


def _of_fold(fold: str, roles: Mapping[str, str], twins: _Twins, held: str, other: str) -> Iterator[Leak]:
    """Yield the leaks of one fold between two of its parts, in the order of the held-out images."""
    there = _Side([image for image in roles if image in twins.picture and roles[image] == other], twins)
    for image, role in roles.items():
        if role == held and image in twins.picture:
            for kind, (bits, twin) in there.twins_of(image).items():
                yield Leak(fold, kind, image, twin, f"{held}-{other}", "" if kind == SAME_TEXT else str(bits))


class _Side:
    """The images of one part, by what they share: each question is a look-up, not a search."""

    def __init__(self, images: Sequence[str], twins: _Twins) -> None:
        self._twins = twins
        self._by_look: dict[int, dict[int, str]] = defaultdict(dict)  # -> picture -> first image; two pictures suffice
        self._by_text: dict[str, str] = {}
        self._by_both: dict[tuple[int, str], str] = {}
        for image in images:
            look, picture = twins.look[image], twins.picture[image]
            if len(self._by_look[look]) < 2 or picture in self._by_look[look]:
                self._by_look[look].setdefault(picture, image)
            for key in sorted(twins.texts.get(image, ())):
                self._by_text.setdefault(key, image)
                self._by_both.setdefault((look, key), image)
        self._pictures: dict[int, str] = {}
        for image in images:
            self._pictures.setdefault(twins.picture[image], image)

    def twins_of(self, image: str) -> dict[str, tuple[int, str]]:
        """Return the nearest twin here of each kind there is: kind -> (bits, image)."""
        look, picture = self._twins.look[image], self._twins.picture[image]
        texts = sorted(self._twins.texts.get(image, ()))
        near = self._twins.near[look]
        found = {
            SAME_PIXELS: [(0, self._pictures[picture])] if picture in self._pictures else [],
            NEAR_IMAGE: (
                (bits, twin)
                for bits, other in near
                for shown, twin in self._by_look.get(other, {}).items()
                if shown != picture
            ),
            SAME_TEXT: ((0, self._by_text[key]) for key in texts if key in self._by_text),
            BOTH: ((b, self._by_both[o, key]) for b, o in near for key in texts if (o, key) in self._by_both),
        }
        nearest = {kind: next(iter(candidates), None) for kind, candidates in found.items()}
        return {kind: twin for kind, twin in nearest.items() if twin is not None}


def _counted(leaks: Sequence[Leak], images: int) -> dict[str, int]:
    kinds = Counter(leak.kind for leak in leaks)
    return {"images": images, "any": len({leak.image_a for leak in leaks})} | {kind: kinds[kind] for kind in LEAK_KINDS}
