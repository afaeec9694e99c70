"""Looks at every labelled picture once: can it be opened, which bytes are its own, is it there under two labels."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tqdm import tqdm

from lile.data.images import examine_image, in_processes
from lile.errors import InputError
from lile.files import sha256_of
from lile.pretraining.config import DataConfig
from lile.pretraining.sources import Finding, Item, Listing

log = logging.getLogger(__name__)

LEAST_USABLE = 0.5
"""Where a smaller share of the pictures can be used, the config names the wrong data."""


@dataclass(frozen=True, kw_only=True)
class Census:
    """The pictures that can be used, in the order of their names."""

    source: str
    items: list[Item]
    digests: list[str]
    """SHA-256 of each picture's bytes."""
    classes: list[str]
    """Names, sorted: a class's place is its number."""
    report: list[Finding]
    grouped: bool
    split: bool

    @cached_property
    def labels(self) -> list[int]:
        """The number of each picture's class."""
        number = {name: place for place, name in enumerate(self.classes)}
        return [number[item.label] for item in self.items]

    @cached_property
    def digest(self) -> str:
        """The hex SHA-256 of names, labels, groups, splits and bytes; not of where the data lie."""
        found = hashlib.sha256()
        for item, digest in zip(self.items, self.digests, strict=True):
            found.update("\0".join([item.name, item.label, item.group, item.split, digest, ""]).encode("utf-8"))
        return found.hexdigest()


def take_census(listing: Listing, data: DataConfig, workers: int = 1) -> Census:
    """Open every listed picture and keep those that can be used.

    Dropped, and in the report: pictures that cannot be opened, a picture that is named twice, and pictures whose bytes
    are there under two labels (nobody knows which is right).

    Args:
        listing: of :func:`lile.pretraining.sources.list_pictures`.
        data: ``min_images`` and the kind, for messages.
        workers: processes that open them.

    Raises:
        InputError: less than half can be used, there are fewer than two classes, or a class has too few pictures.
    """
    report = list(listing.report)
    opened = list(_opened(listing, report, workers))
    conflicts = _conflicts(opened)
    kept: dict[str, tuple[Item, str]] = {}
    for item, digest in opened:
        if digest in conflicts:
            detail = f"the same bytes stand under {', '.join(sorted(conflicts[digest]))}"
            report.append(Finding(item.name, item.label, "dropped", "label_conflict", detail))
        elif item.name in kept:
            report.append(Finding(item.name, item.label, "dropped", "named_twice", "the first row holds"))
        else:
            kept[item.name] = (item, digest)
    if len(kept) < LEAST_USABLE * listing.named:
        worst = Counter(line.reason for line in report if line.status == "dropped").most_common(3)
        said = ", ".join(f"{reason} {count:,}" for reason, count in worst)
        first = next(line for line in report if line.status == "dropped")
        raise InputError(
            f"{listing.source}: only {len(kept):,} of {listing.named:,} pictures can be used ({said}; first "
            f"{first.name}: {first.detail}). Check root and labels"
        )
    items = [item for item, _ in kept.values()]
    return Census(
        source=listing.source,
        items=items,
        digests=[digest for _, digest in kept.values()],
        classes=_classes(items, listing, data),
        report=report,
        grouped=listing.grouped,
        split=listing.split,
    )


def _opened(listing: Listing, report: list[Finding], workers: int) -> Iterator[tuple[Item, str]]:
    """Yield the pictures that can be opened, with the digest of their bytes; note the others in ``report``."""
    paths = [item.path for item in listing.items]
    looks = in_processes(_look, paths, workers)
    for item, (status, reason, detail, digest) in zip(
        listing.items, tqdm(looks, total=len(paths), desc="pictures", unit="picture", disable=None), strict=True
    ):
        if status != "kept":
            report.append(Finding(item.name, item.label, status, reason, " ".join(detail.split())[:300]))
        if status != "dropped":
            yield item, digest


def _look(path: str) -> tuple[str, str, str, str]:
    """Return what was found of one picture, and the digest of its bytes; at the top of the module for processes."""
    finding = examine_image(path, "decode")
    return (*finding, "" if finding[0] == "dropped" else sha256_of(Path(path)))


def _conflicts(opened: list[tuple[Item, str]]) -> dict[str, set[str]]:
    """Return the labels of bytes that stand under more than one."""
    labels: dict[str, set[str]] = defaultdict(set)
    for item, digest in opened:
        labels[digest].add(item.label)
    return {digest: found for digest, found in labels.items() if len(found) > 1}


def _classes(items: list[Item], listing: Listing, data: DataConfig) -> list[str]:
    """Return the classes' names. Raises ``InputError`` for one class alone, or one with too few pictures."""
    counts = Counter({item.label: 0 for item in listing.items})
    counts.update(item.label for item in items)
    if len(counts) < 2:
        raise InputError(
            f"{listing.source}: one class alone ({next(iter(counts))}); there is nothing to tell apart. At least two "
            "are needed"
        )
    few = [f"{name} {count}" for name, count in sorted(counts.items()) if count < data.min_images]
    if few:
        raise InputError(
            f"{listing.source}: classes with fewer than {data.min_images} usable pictures: {', '.join(few)}. Add "
            "pictures, leave these classes out, or lower data.min_images"
        )
    log.info("%s: %s", listing.source, ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())))
    return sorted(counts)
