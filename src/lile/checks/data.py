"""Whether the data are there and look like what the config says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lile.checks.findings import Check, failed, passed, warned
from lile.checks.regions import check_arrays
from lile.checks.survey import Survey, survey_arch, survey_coco, survey_pairs, survey_precomputed
from lile.data.arch import SETS, find_set
from lile.data.archives import ARCHIVES
from lile.data.images import examine_image
from lile.errors import InputError

FEW_IMAGES = 100
MANY_IMAGES = 1_000_000


def survey_of(block: Mapping[str, Any], root: Path) -> Survey | None:
    """Count a dataset's items; ``None`` where its files are still to be downloaded.

    Args:
        block: the dataset's config.
        root: the working folder.

    Raises:
        InputError: a file that should be there is missing or wrong.
    """
    if block["kind"] == "pairs":
        return survey_pairs({**block, "file": str(root / block["file"])})
    if block["kind"] == "arch":
        folder = root / block["root"]
        return None if block["download"] and not _has_arch(folder) else survey_arch(folder)
    if block["kind"] == "coco":
        there = all((root / block["root"] / name).is_dir() for name in ARCHIVES["coco"])
        return None if block["download"] and not there else survey_coco(_below(block, root))
    if block["kind"] == "precomputed":
        return survey_precomputed({**block, "root": str(root / block["root"])})
    items = block["items"]
    return Survey(rows=items, captions=items, images=items, groups=items)


def _below(block: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Return a dataset of kind ``coco`` with its paths from ``root``."""
    images = block["images"]
    if isinstance(images, Mapping):
        images = {name: str(root / folder) for name, folder in images.items()}
    elif images is not None:
        images = str(root / images)
    return {**block, "images": images, **{key: str(root / block[key]) for key in ("root", "split_file")}}


def _has_arch(folder: Path) -> bool:
    """Return whether both sets are there, wherever the reader looks for them."""
    try:
        return all(find_set(folder, name) for name in SETS)
    except InputError:
        return False


def check_data(block: Mapping[str, Any], survey: Survey | None, root: Path) -> Iterator[Check]:
    """Yield what was found of the data.

    Args:
        block: the dataset's config.
        survey: its counts, from :func:`survey_of`.
        root: the working folder.
    """
    if survey is None:
        addresses = ", ".join(archive["url"] for archive in block["archives"].values())
        yield passed("data", f"not in {block['root']} yet; will be downloaded: {addresses}")
    elif block["kind"] == "pairs":
        yield from _pairs(block, survey, root)
    elif block["kind"] == "arch":
        yield _arch(block, survey)
    elif block["kind"] == "coco":
        yield from _coco(block, survey)
    elif block["kind"] == "precomputed":
        yield from check_arrays(block, root)
    else:
        yield _synthetic(survey)


def _synthetic(survey: Survey) -> Check:
    count = survey.images
    found = f"{count:,} synthetic images will be drawn"
    if count < FEW_IMAGES:
        return warned("data", found, f"recalls on so few say little; set items to {FEW_IMAGES} or more")
    if count > MANY_IMAGES:
        return warned("data", found, f"more than {MANY_IMAGES:,} were never tried")
    return passed("data", found)


def _arch(block: Mapping[str, Any], survey: Survey) -> Check:
    found = f"{survey.captions:,} captions, {survey.images:,} images in {block['root']}"
    if survey.images < survey.captions / 2:
        fix = f"put the published files under {block['root']}/{{books_set,pubmed_set}}/images/"
        return failed("data", f"{found}: most images are missing", fix)
    lost = survey.captions - survey.images
    return passed("data", f"{found}; {lost} captions without image will be reported" if lost else found)


def _coco(block: Mapping[str, Any], survey: Survey) -> Iterator[Check]:
    yield _table("split file", block, survey, block["split_file"])
    yield _sample_of_images(survey.sample, "as the split file names them", "put the images there, or set images")


def _pairs(block: Mapping[str, Any], survey: Survey, root: Path) -> Iterator[Check]:
    if not survey.images:
        fix = "give a row for every image and caption"
        yield failed("data table", f"no row of {block['file']} can be used", fix)
        return
    yield _table("data table", block, survey, block["file"])
    folder = root / (block["root"] or Path(block["file"]).parent)
    if not folder.is_dir():
        yield failed("images", f"no such folder: {folder}", "set root to where the image paths start")
        return
    fix = "set root to where the image paths start, or mend the files"
    yield _sample_of_images([str(folder / name) for name in survey.sample], f"in {folder}", fix)


def _table(title: str, block: Mapping[str, Any], survey: Survey, file: str) -> Check:
    """Say what the file of captions holds."""
    found = f"{survey.rows:,} rows, {survey.captions:,} captions, {survey.images:,} images in {file}"
    if block.get("limit"):
        found += f" with limit {block['limit']:,}"
    if not survey.unreadable_rows:
        return passed(title, found)
    fix = "the data stage drops and lists them in report.csv; mend them to keep them"
    return warned(title, f"{found}; {survey.unreadable_rows:,} rows cannot be read", fix)


def _sample_of_images(paths: Sequence[str], where: str, fix: str) -> Check:
    """Open some images, evenly spread over the table."""
    findings = {path: examine_image(path, "decode") for path in paths}
    bad = {path: reason for path, (status, reason, _) in findings.items() if status == "dropped"}
    if not bad:
        return passed("images", f"a sample of {len(findings)} opens, {where}")
    first = next(iter(bad))
    found = f"{len(bad)} of a sample of {len(findings)} cannot be used, such as {first} ({bad[first]}), {where}"
    if len(bad) > len(findings) / 2:
        return failed("images", found, fix)
    return warned("images", found, "the data stage drops and lists such images in report.csv")
