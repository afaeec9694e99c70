"""Whether the data can be divided as the config asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from lile.checks.findings import Check, failed, passed, warned
from lile.checks.survey import Survey
from lile.data.records import SPLIT_WORDS


def check_splits(block: Mapping[str, Any], survey: Survey | None) -> Iterator[Check]:
    """Yield what was found of folds or splits.

    Args:
        block: the dataset's config.
        survey: its counts; ``None`` where the data are still to be downloaded.
    """
    folds = block["folds"]
    if folds["by"] == "split":
        yield _named(block, survey)
    elif survey is None:
        yield passed("folds", f"{folds['count']}, by {folds['group_by']}; counted once the data are there")
    else:
        yield _cross_validation(block, survey)
    size = block.get("evaluation", {}).get("block_images")
    if size is not None and survey is not None and (most := _test_images(block, survey)) < size:
        found = f"{size:,} test images make a block, but a test part has at most {most:,}"
        yield failed("blocks", found, "set evaluation.block_images lower, or null: training would end without a table")


def _test_images(block: Mapping[str, Any], survey: Survey) -> int:
    """Return how many images the smallest test part can have."""
    folds = block["folds"]
    if folds["by"] == "cross_validation":
        return survey.images // folds["count"]
    return sum(count for word, count in survey.splits.items() if SPLIT_WORDS.get(word) == "test")


def _cross_validation(block: Mapping[str, Any], survey: Survey) -> Check:
    folds = block["folds"]
    units = survey.groups if folds["group_by"] == "group" else survey.images
    found = f"{folds['count']} folds of at most {units:,} {folds['group_by']}s"
    # A fold needs a test part, and the rest a training and a validation part.
    if units < max(folds["count"], 3):
        return failed("folds", found, "set folds.count lower, group_by: image, or give more data")
    column = block.get("columns", {}).get("split")
    if column:
        found = f"{found}; the file's own split, in its column {column}, is not used"
        return warned("folds", found, "set folds.by: split to use it, or columns.split: null")
    return passed("folds", found)


def _named(block: Mapping[str, Any], survey: Survey | None) -> Check:
    if survey is None:
        return passed("splits", "the data's own; counted once they are there")
    if not survey.splits or (block["kind"] == "pairs" and not block["columns"].get("split")):
        fix = "set columns.split to the column that holds it, or folds.by: cross_validation"
        return failed("splits", "folds.by is split, but the data have no split column", fix)
    unknown = sorted(set(survey.splits) - set(SPLIT_WORDS))
    if unknown:
        words = ", ".join(filter(None, SPLIT_WORDS))
        return failed("splits", f"unknown word(s) {unknown[:5]} in {block['columns']['split']}", f"use {words}")
    counts: Counter[str] = Counter()
    for word, count in survey.splits.items():
        counts[SPLIT_WORDS[word] or "no split"] += count
    found = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    fix = "fill the split column (train, validation or test), or set folds.by: cross_validation"
    missing = [name for name in ("train", "test") if not counts[name]]
    if missing:
        return failed("splits", f"no {' and no '.join(missing)} rows ({found})", fix)
    if counts["no split"]:
        return failed("splits", f"{counts['no split']:,} images without a split ({found})", fix)
    if not counts["validation"]:
        share = block["folds"]["validation"]
        return passed("splits", f"{found}; {share:.0%} of train will be kept for validation")
    return passed("splits", found)
