"""How much a dataset holds, and how much room its tokens take: counts and shapes, multiplied.

Before a download the published counts stand for the dataset's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lile.checks.shapes import Shape, measured_tokens
from lile.checks.survey import Survey
from lile.errors import InputError

COCO_SPLITS = {"train": 113_287, "validation": 5_000, "test": 5_000}
"""Images of Karpathy's split. Of the 616,767 captions, each image's first ``captions_per_image`` are used."""
ARCH_IMAGES = 7_579

ITEM_BYTES = 62
"""On disk beside an item's tokens: its offset, its sums, its name; measured on a store of 30,000 items (2026-11)."""
INDEX_BYTES = 168
"""In memory for each item of an open store, measured on a store of 20,000 items (2026-11)."""
TEXT_BYTES = 162
"""In memory for each row of the table of descriptions, measured on Flickr8k's 30,000 captions (2026-11)."""
MARKERS = 2
"""Tokens that begin and end a text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """What a caption becomes. The constants below were measured (2026-11) with the vocabulary of roberta-base.

    Attributes:
        per_caption: descriptions of a caption.
        words: of a description.
        tokens_per_word: of the vocabulary, without markers.
        source: of the figures.
        sample: some of the dataset's own descriptions, where it is there.
    """

    per_caption: float
    words: float
    tokens_per_word: float
    source: str
    sample: tuple[str, ...] = ()


PHOTOS = Texts(per_caption=1.0, words=11.8, tokens_per_word=1.05, source="as Flickr8k's captions have them")
FIGURES = {
    "sentences": Texts(per_caption=1.76, words=18.7, tokens_per_word=1.79, source="as ARCH's captions have them"),
    "whole": Texts(per_caption=1.0, words=28.0, tokens_per_word=1.74, source="as ARCH's captions have them"),
}
"""By the word that the config has for descriptions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Of a dataset, before anything is dropped."""

    images: int
    captions: int
    test_images: int
    texts: Texts

    @property
    def descriptions(self) -> int:
        """Texts that are encoded, at most: equal ones are encoded once."""
        return round(self.captions * self.texts.per_caption)

    @property
    def score_bytes(self) -> int:
        """Of the matrix of all test images with all their texts, float32."""
        return self.test_images * round(self.test_images * self.descriptions / max(1, self.images)) * 4


def counts_of(block: Mapping[str, Any], survey: Survey | None) -> Counts:
    """Return a dataset's counts: its own, or the published ones where its files are still to be downloaded.

    Args:
        block: the dataset's config.
        survey: its counts; ``None`` before the download.
    """
    if survey is not None:
        images, captions, splits = survey.images, survey.captions, survey.splits
    elif block["kind"] == "coco":
        most = block["limit"] or max(COCO_SPLITS.values())
        splits = {name: min(count, most) for name, count in COCO_SPLITS.items()}
        images = sum(splits.values())
        captions = images * min(5, block["captions_per_image"])
    else:
        images, captions, splits = ARCH_IMAGES, ARCH_IMAGES, {}
    folds = block["folds"]
    test = images // folds["count"] if folds["by"] == "cross_validation" else splits.get("test", 0)
    return Counts(images=images, captions=captions, test_images=test, texts=_texts(block, survey))


def _texts(block: Mapping[str, Any], survey: Survey | None) -> Texts:
    """What captions become, from a sample of the dataset's own where it is there."""
    usual = PHOTOS if block["kind"] in ("coco", "precomputed") else FIGURES[block["descriptions"]]
    if survey is None or not survey.texts:
        return usual
    import pandas as pd

    from lile.data.sentences import descriptions_of

    names = [str(number) for number in range(len(survey.texts))]
    table = pd.DataFrame({"caption_id": names, "image_id": names, "group": names, "text": list(survey.texts)})
    try:
        found = descriptions_of(table, block["descriptions"])["text"]
    except InputError:
        return usual
    return Texts(
        per_caption=len(found) / len(names),
        words=sum(len(text.split()) for text in found) / len(found),
        tokens_per_word=usual.tokens_per_word,
        source=f"as in a sample of {len(names)} captions",
        sample=tuple(found),
    )


def tokens_per_text(texts: Texts, block: Mapping[str, Any], root: Path) -> float:
    """Return how many tokens a description has, markers included: by the encoder's own tokenizer where it is here.

    Args:
        texts: what captions become.
        block: of ``encoders``, of modality text.
        root: the working folder.
    """
    measured = measured_tokens(json.dumps(dict(block), sort_keys=True), texts.sample, root.absolute())
    return measured or min(block["max_tokens"], texts.words * texts.tokens_per_word + MARKERS)


def store_bytes(items: int, tokens: float, shape: Shape) -> int:
    """Return the size of a token store.

    Args:
        items: stored.
        tokens: of an item.
        shape: their width, and whether each has a box (four numbers of 4 bytes).
    """
    return round(items * (tokens * (2 * shape.width + (16 if shape.boxes else 0)) + ITEM_BYTES))


def bytes_there(paths: list[str], root: Path) -> int:
    """Return how much of files is there already."""
    return sum((root / path).stat().st_size for path in paths if (root / path).is_file())


def in_words(count: float) -> str:
    """Return a number of bytes as a person says it."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"
