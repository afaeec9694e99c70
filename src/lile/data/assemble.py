"""From captions as a source lists them to checked records: the part that every reader of files shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lile.data.captions import MAX_CHARACTERS, MAX_WORDS, CleanCaption, clean_caption
from lile.data.groups import groups_from
from lile.data.images import Finding, VerifyMode, verify_images
from lile.data.records import CAPTION_COLUMNS, IMAGE_COLUMNS, REPORT_COLUMNS, Records, ReportRow
from lile.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_DETAILS = {
    "caption_too_long": f"{MAX_WORDS:,} words or {MAX_CHARACTERS:,} characters, or more",
    "caption_invalid_utf8": "bytes that are no UTF-8 read as U+FFFD",
    "caption_control_characters": "NUL or other control characters removed",
}


Look = Callable[[Sequence[str]], list[Finding]]
"""Looks at images by their paths."""


class SourceCaption(NamedTuple):
    """One caption of one image, as the source lists it."""

    row: str
    """Where it stands in the source, for the report."""
    image_id: str
    path: str
    text: object
    """The raw caption; anything but text is reported and dropped."""
    link: str = ""
    """What ties images together beyond their captions, and names their group (``books:figure-12``); may be empty."""
    split: str = ""


class _Tables(NamedTuple):
    """What is known before the tables are cut to what is kept."""

    captions: list[tuple[SourceCaption, str, CleanCaption]]  # with its caption id
    groups: dict[str, str]  # of every image
    findings: dict[str, Finding]  # of every image


def assemble(
    sources: Sequence[SourceCaption], lost: Sequence[ReportRow], verify: VerifyMode | Look, workers: int, where: str,
    same_text_same_group: bool = True, excluded: Collection[str] = (),
) -> Records:  # fmt: skip
    """Clean captions, look at images, find groups, and keep what is whole.

    An image stays when it can be read and a caption of it is left; a caption stays when it says something and its
    image stays. Groups are found before anything is dropped, so that they do not depend on which file happens to be
    readable: images that share a link or (``same_text_same_group``) a caption's cleaned text are one group. It is
    named by its smallest link, else by its smallest image id.

    Args:
        sources: all captions in the source's order; rows of one ``image_id`` carry the same path.
        lost: report of what the reader has dropped or warned of already.
        verify: how images are looked at, see :func:`lile.data.images.verify_images`; or what looks at them, where they
            are no pictures: it gets the path of every image and returns as many findings.
        workers: processes for that.
        where: names the source in messages.
        same_text_same_group: whether the same caption makes the same group.
        excluded: cleaned texts that are no captions, though they stand in their place.

    Returns:
        Records in the source's order.

    Raises:
        InputError: nothing, or less than half of the images and rows, can be used.
    """
    if not sources:
        _refuse_hopeless(0, lost, where)
    firsts: dict[str, SourceCaption] = {}
    for source in sources:
        firsts.setdefault(source.image_id, source)
    captions = list(_numbered(sources, excluded))
    paths = [first.path for first in firsts.values()]
    findings = verify(paths) if callable(verify) else verify_images(paths, verify, workers)
    tables = _Tables(captions, _groups_of(captions, same_text_same_group), dict(zip(firsts, findings, strict=True)))
    usable = {image_id for image_id, finding in tables.findings.items() if finding[0] != "dropped"}
    captioned = {source.image_id for source, _, clean in captions if not clean.problem}
    report = [*lost, *_image_report(firsts, tables, captioned), *_caption_report(tables, usable)]
    kept = usable & captioned
    _refuse_hopeless(len(kept), report, where)
    images = _frame(
        [(i, first.path, tables.groups[i], first.split) for i, first in firsts.items() if i in kept], IMAGE_COLUMNS
    )
    texts = _frame(_caption_rows(tables, kept), CAPTION_COLUMNS)
    return Records(images, texts, _frame([*report, *_leaks(images)], REPORT_COLUMNS))


def _numbered(
    sources: Sequence[SourceCaption], excluded: Collection[str]
) -> Iterator[tuple[SourceCaption, str, CleanCaption]]:
    """Clean every caption and give it an id: its image's id and its number among that image's captions."""
    numbers: Counter[str] = Counter()
    for source in sources:
        clean = clean_caption(source.text)
        if clean.text in excluded:
            clean = CleanCaption("", "caption_excluded", "")
        yield source, f"{source.image_id}#{numbers[source.image_id]}", clean
        numbers[source.image_id] += 1


def _groups_of(captions: Sequence[tuple[SourceCaption, str, CleanCaption]], by_text: bool) -> dict[str, str]:
    """Return the group of every image."""
    heads = groups_from(_ties(captions, by_text))
    links: dict[str, str] = {}
    for source, _, _ in captions:
        head = heads[source.image_id]
        if source.link and (head not in links or source.link < links[head]):
            links[head] = source.link
    # The prefix keeps an image's id apart from a link that happens to read the same.
    return {image_id: links.get(head) or f"image:{head}" for image_id, head in heads.items()}


def _ties(captions: Sequence[tuple[SourceCaption, str, CleanCaption]], by_text: bool) -> Iterator[tuple[str, Hashable]]:
    """Yield what each image shares with others: itself, its link, its captions' texts."""
    for source, _, clean in captions:
        yield source.image_id, ("image", source.image_id)
        if source.link:
            yield source.image_id, ("link", source.link)
        if by_text and clean.text:
            yield source.image_id, ("text", clean.text)


def _image_report(firsts: dict[str, SourceCaption], tables: _Tables, captioned: set[str]) -> Iterator[ReportRow]:
    """Yield a line for each image that is dropped or warned of."""
    for image_id, (status, reason, detail) in tables.findings.items():
        row, path = firsts[image_id].row, firsts[image_id].path
        if status != "kept":
            yield ReportRow(row, image_id, "", status, reason, _short(f"{path}: {detail}"))
        if status != "dropped" and image_id not in captioned:
            yield ReportRow(row, image_id, "", "dropped", "image_without_caption", "no usable caption of it is left")


def _caption_report(tables: _Tables, usable: set[str]) -> Iterator[ReportRow]:
    """Yield a line for each caption that is dropped or warned of."""
    seen: set[tuple[str, str]] = set()
    for source, caption_id, clean in tables.captions:
        where = source.row, source.image_id, caption_id
        if clean.problem:
            yield ReportRow(*where, "dropped", clean.problem, _DETAILS.get(clean.problem, _short(repr(source.text))))
            continue
        if source.image_id not in usable:
            yield ReportRow(*where, "dropped", "caption_of_dropped_image", "its image cannot be used")
            continue
        if clean.note:
            yield ReportRow(*where, "warned", clean.note, _DETAILS[clean.note])
        if (source.image_id, clean.text) in seen:
            yield ReportRow(
                *where, "warned", "caption_repeated", "the same image has the same caption twice; both stay"
            )
        seen.add((source.image_id, clean.text))


def _caption_rows(tables: _Tables, kept: set[str]) -> list[tuple[str, ...]]:
    """Return the rows of captions.csv."""
    return [
        (caption_id, source.image_id, tables.groups[source.image_id], clean.text)
        for source, caption_id, clean in tables.captions
        if source.image_id in kept and not clean.problem
    ]


def _leaks(images: pd.DataFrame) -> list[ReportRow]:
    """Warn of groups that the source's own splits tear apart: the same content in training and test."""
    named = images[images["split"] != ""]
    torn = named.groupby("group")["split"].transform("nunique") > 1
    counts = named[torn].groupby(["group", "split"], sort=False).size().reset_index(name="count")
    details: dict[str, list[str]] = {}
    for group, split, count in zip(counts["group"], counts["split"], counts["count"], strict=True):
        details.setdefault(group, []).append(f"{split} {count}")
    firsts = named[torn].drop_duplicates("group").set_index("group")["image_id"]
    return [
        ReportRow("", firsts[group], "", "warned", "group_across_splits", _short(f"{group}: {', '.join(words)}"))
        for group, words in details.items()
    ]


def _refuse_hopeless(kept: int, report: Sequence[ReportRow], where: str) -> None:
    """Raise ``InputError`` where more was dropped than kept: that is no bad item but a wrong path or column."""
    dropped = [row for row in report if row.status == "dropped" and not row.caption_id]
    if kept and kept >= len(dropped):
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(row.reason for row in dropped).most_common(5))
    firsts = "; ".join(f"row {row.row}: {row.reason}: {row.detail}" for row in dropped[:3])
    found = f"({reasons}). First: {firsts}" if dropped else "(it lists none)"
    raise InputError(
        f"{where}: {kept} of {kept + len(dropped)} images can be used {found}. Look at these, then run again"
    )


def _frame(rows: Sequence[tuple[str, ...]], columns: Sequence[str]) -> pd.DataFrame:
    """Return a table of strings."""
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns), dtype=str)


def _short(detail: str) -> str:
    """Cut a detail to one line of at most 300 characters that any encoding can hold."""
    line = clean_caption(detail).text
    return line if len(line) <= 300 else f"{line[:300]}..."
