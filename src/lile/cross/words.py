"""Captions and object tags as the token ids that a BERT reads.

Shapes: B pairs, L words of the longest pair, markers counted.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lile.errors import InputError

log = logging.getLogger(__name__)

TAG_COLUMNS = ("image_id", "tags")


class PairWords:
    """``[CLS] caption [SEP]`` as segment 0, and where an image has tags ``tags [SEP]`` as segment 1.

    Args:
        tokenizer: of the BERT, fast.
        texts: text id -> caption.
        tags: image id -> the names of its objects, as one text; images may be absent.
        max_words: longest caption in word pieces, both markers counted; longer ones are cut at the end.
        max_tags: longest tag text in word pieces, its marker counted.
    """

    def __init__(
        self, tokenizer: Any, texts: Mapping[str, str], tags: Mapping[str, str], max_words: int, max_tags: int
    ) -> None:
        self.pad = int(tokenizer.pad_token_id)
        first, last = int(tokenizer.cls_token_id), int(tokenizer.sep_token_id)
        captions = _pieces(tokenizer, texts, max_words - 2)
        self.captions = {name: [first, *ids, last] for name, ids in captions.items()}
        self.tags = {name: [*ids, last] for name, ids in _pieces(tokenizer, tags, max_tags - 1).items() if ids}
        cut = sum(len(ids) == max_words for ids in self.captions.values())
        log.info("%d captions, %d of them at the limit of %d word pieces", len(self.captions), cut, max_words)

    def lengths(self, text_ids: Sequence[str], image_ids: Sequence[str]) -> np.ndarray:
        """Return the number of words of each pair, int64 ``[B]``."""
        pairs = zip(text_ids, image_ids, strict=True)
        return np.asarray([len(self.captions[text]) + len(self.tags.get(image, ())) for text, image in pairs])

    def read(self, text_ids: Sequence[str], image_ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return pairs of captions and images' tags.

        Args:
            text_ids: ``[B]``.
            image_ids: ``[B]``.

        Returns:
            token ids int64 ``[B, L]``, segments int64 ``[B, L]``, and keep bool ``[B, L]``, true on real words.
        """
        length_B = self.lengths(text_ids, image_ids)
        places_L = np.arange(int(length_B.max(initial=0)))
        keep_BL = places_L[None, :] < length_B[:, None]
        words_BL = np.full(keep_BL.shape, self.pad, dtype=np.int64)
        caption_B = np.asarray([len(self.captions[text]) for text in text_ids], dtype=np.int64)
        for row, text, image, length in zip(words_BL, text_ids, image_ids, length_B, strict=True):
            row[:length] = [*self.captions[text], *self.tags.get(image, ())]
        segments_BL = ((places_L[None, :] >= caption_B[:, None]) & keep_BL).astype(np.int64)
        return words_BL, segments_BL, keep_BL


def read_tags(path: Path) -> dict[str, str]:
    """Return image id -> tags of a CSV with the columns ``image_id, tags``.

    Raises:
        InputError: it is no such table, or an image stands twice.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise InputError(
            f"{path}: tags cannot be read ({error}); needed: a CSV with {', '.join(TAG_COLUMNS)}"
        ) from error
    missing = [name for name in TAG_COLUMNS if name not in frame]
    if missing:
        raise InputError(f"{path}: has no column {missing[0]}; found {list(frame.columns)}")
    twice = frame["image_id"][frame["image_id"].duplicated()]
    if len(twice):
        raise InputError(f"{path}: image {twice.iloc[0]!r} stands twice; put all its tags into one line")
    return dict(zip(frame["image_id"], frame["tags"], strict=True))


def _pieces(tokenizer: Any, texts: Mapping[str, str], most: int) -> dict[str, list[int]]:
    """Return each text's word pieces without markers, cut to ``most``."""
    if not texts:
        return {}
    found = tokenizer(
        list(texts.values()), add_special_tokens=False, truncation=True, max_length=most, padding=False,
        return_attention_mask=False, return_token_type_ids=False,
    )  # fmt: skip
    return dict(zip(texts, found["input_ids"], strict=True))
