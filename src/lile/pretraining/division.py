"""Which pictures train, which choose the epoch, and which are held out. Groups are never torn.

Shapes: G groups, C classes.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lile.data.groups import groups_from
from lile.errors import InputError
from lile.pretraining.census import Census
from lile.pretraining.config import DataConfig
from lile.pretraining.sources import HELD_OUT, TRAIN
from lile.seeds import seed_for

log = logging.getLogger(__name__)

FEW_GROUPS = 10
"""Held-out slides below which an interval says little."""

RANDOM_SPLIT = (
    "Held out at random: the data name neither slides (or patients) nor a split, so pictures of one slide are most "
    "likely on both sides. The figures say how well known slides are told apart, not new ones: no accuracy here is a "
    "result"
)


@dataclass(frozen=True, kw_only=True)
class Division:
    """Places of pictures in the census, each part sorted."""

    train: list[int]
    validation: list[int]
    """Empty where nothing chooses the epoch."""
    held_out: list[int]
    groups: list[str]
    """Of every picture: slide or patient where given, tied together where bytes are equal."""
    by: str
    """``split``, ``group`` or ``random``."""
    warnings: list[str]

    def parts(self) -> dict[str, list[int]]:
        """Return the places by the part's name."""
        return {"train": self.train, "validation": self.validation, "held_out": self.held_out}


def divide(census: Census, data: DataConfig, seed: int, *, validation: bool) -> Division:
    """Divide the pictures.

    Pictures with equal bytes count as one group. The data's own split holds where they have one; else whole groups are
    held out, in a random order, so that each class comes near to its share; else (a group each) a draw by class.

    Args:
        census: the pictures.
        data: ``held_out`` and ``validation``: shares.
        seed: the pretraining's own.
        validation: whether a part is set aside that chooses the epoch.

    Raises:
        InputError: a class has no picture in one of the parts, and more groups or another split are needed.
    """
    groups = _tied_groups(census)
    labels = np.asarray(census.labels)
    everything = list(range(len(labels)))
    if census.split:
        held = [place for place in everything if census.items[place].split == HELD_OUT]
        rest = [place for place in everything if census.items[place].split == TRAIN]
    else:
        rest, held = _drawn(everything, labels, groups, data.held_out, seed_for(seed, "held out"))
    train, chosen = (
        _drawn(rest, labels, groups, data.validation, seed_for(seed, "validation")) if validation else (rest, [])
    )
    parts = {"train": train, "held_out": held} | ({"validation": chosen} if validation else {})
    for name, places in parts.items():
        _check(census, labels, places, name)
    by = "split" if census.split else "group" if census.grouped else "random"
    warnings = _warnings(census, by, [*train, *chosen], held, groups)
    for said in warnings:
        log.warning("%s: %s", census.source, said)
    return Division(train=train, validation=chosen, held_out=held, groups=groups, by=by, warnings=warnings)


def _tied_groups(census: Census) -> list[str]:
    """Return each picture's group: its slide or patient if known, joined with those that have a picture's very bytes.

    Under a split of the data's own nothing is joined: copies cannot be moved, they are counted.
    """
    items = census.items
    own = [f"group {item.group}" if item.group else f"picture {item.name}" for item in items]
    if census.split:
        return own
    links = [(group, digest) for group, digest in zip(own, census.digests, strict=True)]
    tied = groups_from(links)
    return [tied[group] for group in own]


def _drawn(
    places: Sequence[int], labels: np.ndarray, groups: Sequence[str], share: float, seed: int
) -> tuple[list[int], list[int]]:
    """Return what stays and what is drawn: whole groups, about ``share`` of each class.

    Groups are visited in a random order; one is taken if that brings the drawn part nearer to its aim.
    """
    names = sorted({groups[place] for place in places})
    row = {name: number for number, name in enumerate(names)}
    counts_GC = np.zeros((len(names), int(labels.max()) + 1))
    rows = np.array([row[groups[place]] for place in places])
    np.add.at(counts_GC, (rows, labels[list(places)]), 1)
    totals_C = counts_GC.sum(0)
    shares_GC = counts_GC / np.maximum(totals_C, 1)  # a class counts the same, be it large or small
    order = np.random.default_rng(seed).permutation(len(names))
    taken = _greedy(shares_GC, order, share)
    drawn = [place for place in places if taken[row[groups[place]]]]
    return [place for place in places if not taken[row[groups[place]]]], drawn


def _greedy(shares_GC: np.ndarray, order: np.ndarray, share: float) -> np.ndarray:
    """Return which groups are drawn, bool [G]."""
    taken = np.zeros(len(shares_GC), dtype=bool)
    missing_C = np.where(shares_GC.sum(0) > 0, share, 0.0)
    for group in order:
        after_C = missing_C - shares_GC[group]
        if np.square(after_C).sum() < np.square(missing_C).sum():
            taken[group], missing_C = True, after_C
    for number in np.flatnonzero(missing_C >= share):  # a class whose groups are all too large: its smallest then
        has = [group for group in order if shares_GC[group, number] > 0 and not taken[group]]
        if len(has) > 1 and not shares_GC[taken, number].any():
            taken[min(has, key=lambda group: shares_GC[group].sum())] = True
    return taken


def _check(census: Census, labels: np.ndarray, places: Sequence[int], part: str) -> None:
    """Raise ``InputError`` where a class has no picture in a part."""
    there = set(labels[list(places)].tolist())
    absent = [name for number, name in enumerate(census.classes) if number not in there]
    if absent:
        mend = (
            "the data's own split leaves them out"
            if census.split and part != "validation"
            else "each class needs pictures of at least three slides or patients (two without training.patience)"
        )
        raise InputError(f"{census.source}: no picture of {', '.join(absent)} in the part {part!r}: {mend}")


def _warnings(census: Census, by: str, trained: Sequence[int], held: Sequence[int], groups: Sequence[str]) -> list[str]:
    found = [RANDOM_SPLIT] if by == "random" else []
    known = {census.digests[place] for place in trained}
    copies = sum(census.digests[place] in known for place in held)
    if copies:
        found.append(f"{copies:,} held-out pictures have the very bytes of a training picture")
    if census.grouped:
        count = len({groups[place] for place in held})
        if count < FEW_GROUPS:
            found.append(f"Only {count} slides or patients are held out: the intervals say little")
        nameless = sum(not item.group for item in census.items)
        if nameless:
            found.append(f"{nameless:,} pictures have no group; each counts as a slide of its own")
        torn = {groups[place] for place in trained} & {groups[place] for place in held}
        if torn:
            found.append(f"The data's own split tears {len(torn):,} groups: part of each is trained on")
    dropped = Counter(line.reason for line in census.report if line.status == "dropped")
    if dropped:
        said = ", ".join(f"{reason} {count:,}" for reason, count in dropped.most_common())
        found.append(f"{sum(dropped.values()):,} pictures, rows or files were left out ({said}): see report.csv")
    return found
