"""Which image trains, validates and tests in which fold: columns ``image_id, fold_0, fold_1, ...``.

Everything is drawn from named seeds over sorted ids, so the rows' order in images.csv changes nothing.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lile.data.groups import groups_from
from lile.data.records import SPLITS
from lile.errors import InputError
from lile.seeds import seed_for

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

Units = dict[str, list[str]]
"""What stays together: name of the unit (a group, or an image by itself) -> its image ids, both sorted."""


def make_folds(
    images: pd.DataFrame, *, by: str, count: int, group_by: str, validation: float, seed: int,
    seeds: int = 1, near_duplicates: str = "apart", duplicates: pd.DataFrame | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Assign every image to train, validation or test in each of ``count`` folds, ``seeds`` times over.

    ``cross_validation``: each image is test in exactly one fold; folds are balanced in images (largest units first,
    each to the smallest fold). ``split``: the file's own split in every fold: the folds are repeats of one training.
    Validation images are drawn from those that are not test, by the same unit, another seeded draw in each fold; the
    file's own validation rows are used where it has any.

    Args:
        images: columns ``image_id, group, split``.
        by: ``cross_validation`` or ``split``.
        count: number of folds, or of repeats of the split.
        group_by: ``group`` (a group is whole in one part) or ``image`` (each image for itself).
        validation: share, in images, of the images that are not test; between 0 and 1, both excluded.
        seed: the config's.
        seeds: trainings of each fold. Run r has the parts of fold ``r % count``; its training draws its own seed.
        near_duplicates: ``together`` makes one unit of all that are linked by ``duplicates``; ``apart`` does not.
        duplicates: columns ``image_a, image_b``; needed with ``together``.

    Returns:
        ``image_id`` in the order of ``images``, then a column for each run, ``fold_0 .. fold_{count * seeds - 1}``;
        cells train | validation | test.

    Raises:
        InputError: unknown words, too few units for the folds, a split that lacks rows, ids that stand twice, keys that
            a split cannot have.
    """
    _check(images, by, count, group_by, validation)
    _check_split_keys(by, seeds, near_duplicates)
    units = _units(images, group_by)
    if near_duplicates == "together":
        assert duplicates is not None, "the workflow hands them over where the config says together"
        units = _together(units, duplicates)
    if by == "cross_validation":
        parts = _cross_validation(units, count, validation, seed)
    else:
        parts = _own_split(images, units, count, validation, seed, group_by)
    folds = images[["image_id"]].reset_index(drop=True)
    for fold, part in enumerate(parts):
        folds[f"fold_{fold}"] = folds["image_id"].map(part)
        sizes = folds[f"fold_{fold}"].value_counts()
        log.info("fold %d: %s", fold, ", ".join(f"{sizes.get(name, 0)} {name}" for name in SPLITS))
    for run in range(count, count * seeds):
        folds[f"fold_{run}"] = folds[f"fold_{run % count}"]
    assert not folds.isna().to_numpy().any(), "every image has a part in every fold"
    return folds


def _check(images: pd.DataFrame, by: str, count: int, group_by: str, validation: float) -> None:
    for key, value, known in (("by", by, ("cross_validation", "split")), ("group_by", group_by, ("group", "image"))):
        if value not in known:
            raise InputError(f"folds.{key}: {value!r} is not known; write one of {list(known)}")
    least = 2 if by == "cross_validation" else 1
    if count < least:
        raise InputError(f"folds.count: {count} is too few for folds.by: {by}; write {least} or more")
    if not 0 < validation < 1:
        raise InputError(f"folds.validation: {validation} must lie between 0 and 1; 0.1 keeps a tenth of train")
    missing = {"image_id", "group", "split"} - set(images.columns)
    if missing:
        raise InputError(f"images: missing column(s) {sorted(missing)}; found {list(images.columns)}")
    twice = images.loc[images["image_id"].duplicated(), "image_id"]
    if len(twice):
        raise InputError(f"images: {len(twice)} image id(s) stand twice, first {twice.iloc[0]!r}; make them unique")
    blank = images.loc[images["group"] == "", "image_id"]
    if group_by == "group" and len(blank):
        raise InputError(
            f"images: {len(blank)} without a group, first {blank.iloc[0]!r}; fill the column or set "
            "folds.group_by: image"
        )


def _check_split_keys(by: str, seeds: int, near_duplicates: str) -> None:
    if near_duplicates not in ("apart", "together"):
        raise InputError(f"folds.near_duplicates: {near_duplicates!r} is not known; write one of ['apart', 'together']")
    if seeds < 1:
        raise InputError(f"folds.seeds: {seeds} is too few; write 1 or more")
    if by == "split" and seeds > 1:
        raise InputError(f"folds.seeds: found {seeds}, but with split, count is the number of seeds: set count")
    if by == "split" and near_duplicates == "together":
        raise InputError(
            "folds.near_duplicates: together, but folds.by: split moves no image. Leave it out, or set folds.by: "
            "cross_validation"
        )


def _units(images: pd.DataFrame, group_by: str) -> Units:
    names = images["group"] if group_by == "group" else images["image_id"]
    units: Units = {}
    for name, image in sorted(zip(names, images["image_id"], strict=True)):
        units.setdefault(name, []).append(image)
    return units


def _together(units: Units, duplicates: pd.DataFrame) -> Units:
    """Merge the units that a link of ``duplicates`` ties, directly or through others."""
    unit_of = {image: name for name, ids in units.items() for image in ids}
    ends = zip(duplicates["image_a"], duplicates["image_b"], strict=True)
    missing = next((image for pair in ends for image in pair if image not in unit_of), None)
    if missing is not None:
        raise InputError(f"duplicates.csv names image {missing!r}, which images.csv lacks; run the workflow again")
    heads = groups_from(_ties(units, unit_of, duplicates))
    merged: Units = {}
    for name in sorted(units):
        merged.setdefault(heads[name], []).extend(units[name])
    largest = max((len(ids) for ids in merged.values()), default=0)
    log.info("near-duplicates together: %d units become %d, the largest of %d images", len(units), len(merged), largest)
    return {name: sorted(ids) for name, ids in merged.items()}


def _ties(units: Units, unit_of: dict[str, str], duplicates: pd.DataFrame) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each unit under its own name, and the units of both ends of each link under the link's first image."""
    for name in units:
        yield name, ("unit", name)
    for one, other in zip(duplicates["image_a"], duplicates["image_b"], strict=True):
        yield unit_of[one], ("image", one)
        yield unit_of[other], ("image", one)


def _shuffled(names: list[str], seed: int) -> list[str]:
    import numpy as np

    return [names[place] for place in np.random.default_rng(seed).permutation(len(names))]


def _cross_validation(units: Units, count: int, validation: float, seed: int) -> list[dict[str, str]]:
    if len(units) < max(count, 3):
        raise InputError(
            f"folds.count: {count} folds with train and validation need at least {max(count, 3)} groups or images that "
            f"stay together; found {len(units)}. Lower folds.count, set folds.group_by: image, or add data"
        )
    members: list[list[str]] = [[] for _ in range(count)]
    heap = [(0, fold) for fold in range(count)]
    order = _shuffled(list(units), seed_for(seed, "folds", "test"))
    for name in sorted(order, key=lambda name: len(units[name]), reverse=True):  # stable: ties stay shuffled
        size, fold = heapq.heappop(heap)
        members[fold].append(name)
        heapq.heappush(heap, (size + len(units[name]), fold))
    parts = []
    for fold in range(count):
        test = set(members[fold])
        rest = {name: ids for name, ids in units.items() if name not in test}
        if len(rest) < 2:
            raise InputError(
                f"folds: fold {fold} leaves {len(rest)} group(s) for train and validation; raise folds.count, set "
                "folds.group_by: image, or add data"
            )
        part = {image: "test" for name in test for image in units[name]}
        parts.append(part | _train_and_validation(rest, validation, seed_for(seed, "folds", "validation", fold)))
    return parts


def _train_and_validation(units: Units, share: float, seed: int) -> dict[str, str]:
    """Draw whole units for validation until their images come closest to ``share`` of all; both parts get a unit."""
    target = share * sum(len(ids) for ids in units.values())
    order = _shuffled(list(units), seed)
    chosen: set[str] = set()
    size = 0
    for name in order:
        if size + len(units[name]) <= target and len(chosen) < len(units) - 1:
            chosen.add(name)
            size += len(units[name])
    left = [name for name in order if name not in chosen]
    nearest = min(left, key=lambda name: len(units[name]))
    if not chosen or (len(left) > 1 and size + len(units[nearest]) - target < target - size):
        chosen.add(nearest)
    return {image: "validation" if name in chosen else "train" for name, ids in units.items() for image in ids}


def _own_split(
    images: pd.DataFrame, units: Units, count: int, validation: float, seed: int, group_by: str
) -> list[dict[str, str]]:
    split = dict(zip(images["image_id"], images["split"], strict=True))
    _check_split(split)
    _warn_of_straddling(images, group_by)
    if "validation" in split.values():
        return [split] * count
    train = {name: [i for i in ids if split[i] == "train"] for name, ids in units.items()}
    train = {name: ids for name, ids in train.items() if ids}
    if len(train) < 2:
        raise InputError(
            f"folds.by: split: no validation rows, and the train rows hold {len(train)} group(s): none to draw "
            "them from. Mark validation rows in the split column or set folds.group_by: image"
        )
    log.info("folds.by: split: no validation rows; %g of the train images are drawn, by %s", validation, group_by)
    return [
        split | _train_and_validation(train, validation, seed_for(seed, "folds", "validation", fold))
        for fold in range(count)
    ]


def _check_split(split: dict[str, str]) -> None:
    for image, word in split.items():
        if word not in SPLITS:
            number = sum(other not in SPLITS for other in split.values())
            raise InputError(
                f"folds.by: split: {number} image(s) without train, validation or test, first {image!r} with {word!r}. "
                "Fill the split column (config: columns.split), or set folds.by: cross_validation"
            )
    for word in ("train", "test"):
        if word not in split.values():
            raise InputError(
                f"folds.by: split: no {word} rows among {len(split)} images; found {sorted(set(split.values()))}. "
                "Mark some, or set folds.by: cross_validation"
            )


def _warn_of_straddling(images: pd.DataFrame, group_by: str) -> None:
    grouped = images[images["group"] != ""]
    parts = grouped.groupby("group")["split"].agg(lambda words: " + ".join(sorted(set(words))))
    straddling = parts[parts.str.contains("+", regex=False)]
    if straddling.empty:
        return
    number = int(grouped["group"].isin(straddling.index).sum())
    kinds = ", ".join(f"{many} in {words}" for words, many in sorted(straddling.value_counts().items()))
    tell = log.warning if group_by == "group" else log.info
    tell(
        "the file's own split parts %d group(s) of %d images (%s), first %r: used as it is; where train and test share "
        "a group, recalls flatter",
        len(straddling),
        number,
        kinds,
        str(straddling.index[0])[:80],
    )
