"""Runs the frozen stems over a data set and stores their tokens.

Sharding: of N shards, shard k takes items k, k + N, k + 2 N, ... of the table (for texts: of the distinct texts in the
order in which they first come), so that shards take equally long whatever the table is sorted by.

A shard is made in segments (:mod:`lile.features.segments`): a job that was killed goes on after the last one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lile.features.pipeline import (
    UNDECODABLE,
    ahead_of,
    best_device,
    one_behind,
    share_of,
    to_host,
    undecodable,
)
from lile.features.segments import write_showing
from lile.features.shard_writer import Item
from lile.files import digest_of

if TYPE_CHECKING:  # types only: a change of one modality's encoder must not plan the other's tokens
    import pandas as pd

    from lile.features.image_encoder import ImageEncoder
    from lile.features.text_encoder import TextEncoder

log = logging.getLogger(__name__)

_TEXTS_AT_ONCE = 1024  # handed to the tokenizer in one call
_SEGMENT_IMAGES = 2048  # about this many images, or texts, are lost when a job is killed
_SEGMENT_TEXTS = 8192


def extract_image_tokens(
    images: pd.DataFrame,
    encoder: ImageEncoder,
    out: Path,
    *,
    name: str,
    work: Path | None = None,
    shard: int = 0,
    shards: int = 1,
    batch_size: int = 32,
    threads: int = 1,
    code: str | None = None,
) -> int:
    """Store the tokens of one shard of images under their ``image_id``.

    Args:
        images: columns ``image_id`` and ``path``.
        encoder: its stem is run, on the CUDA device where there is one.
        out: the shard's file.
        name: the encoder's name in the config, kept with the tokens.
        work: folder that outlives a killed job, named by config and code: the next run goes on from there.
        shard: which, from 0.
        shards: of how many.
        batch_size: images per forward pass.
        threads: that decode and resize images beside the forward pass.
        code: fingerprint of the code, kept with the tokens.

    Returns:
        The number of images stored.

    Raises:
        InputError: an image cannot be decoded, or the shard does not exist; nothing is left behind.
        OSError: the disk is full.
    """
    mine = share_of(images, shard, shards)
    ids, paths = mine["image_id"].tolist(), mine["path"].tolist()
    device = best_device()
    encoder.stem.to(device)

    def batches(first: int, end: int) -> Iterator[_Batch]:
        ahead = 2 * batch_size + threads
        pictures = ahead_of(lambda path: _picture(path, encoder), paths[first:end], threads, ahead)
        for start in range(first, end, batch_size):
            stop = min(start + batch_size, end)
            batch = [next(pictures) for _ in range(start, stop)]
            with torch.inference_mode():
                pixels = encoder.transform.normalised(torch.from_numpy(np.stack(batch)).to(device))
                stored = to_host(encoder.stem(pixels))
            yield _Batch(ids[start:stop], stored)

    about = {"encoder": name, **encoder.about()}
    folder = work / digest_of([ids, paths, batch_size]) if work else None
    segment = _segment(_SEGMENT_IMAGES, batch_size)
    facts = {"about": about, "width": encoder.width, "code": code}
    return _store(batches, len(ids), out, unit="images", work=folder, segment=segment, **facts)


def extract_text_tokens(
    descriptions: pd.DataFrame,
    encoder: TextEncoder,
    out: Path,
    *,
    name: str,
    work: Path | None = None,
    shard: int = 0,
    shards: int = 1,
    batch_size: int = 32,
    code: str | None = None,
) -> int:
    """Store the tokens of one shard of the distinct texts under their ``text_id``, shortest first.

    Texts of like length share a batch, so little is spent on padding. How many texts were cut to ``max_tokens`` is
    logged as a warning and kept with the tokens (``about["truncated"]``).

    Args:
        descriptions: columns ``text_id`` and ``text``; a text that comes several times is stored once.
        encoder: its stem is run, on the CUDA device where there is one.
        out: the shard's file.
        name: the encoder's name in the config, kept with the tokens.
        work: folder that outlives a killed job, named by config and code: the next run goes on from there.
        shard: which, from 0.
        shards: of how many.
        batch_size: texts per forward pass.
        code: fingerprint of the code, kept with the tokens.

    Returns:
        The number of texts stored.

    Raises:
        InputError: the shard does not exist; nothing is left behind.
        OSError: the disk is full.
    """
    mine = share_of(descriptions.drop_duplicates("text_id"), shard, shards)
    ids = mine["text_id"].tolist()
    tokens, truncated = _encoded(mine["text"].tolist(), encoder)
    if truncated:
        log.warning("%d of %d texts are longer than %d tokens and were cut", truncated, len(ids), encoder.max_tokens)
    order = sorted(range(len(ids)), key=lambda place: (len(tokens[place]), ids[place]))
    device = best_device()
    encoder.stem.to(device)

    def batches(first: int, end: int) -> Iterator[_Batch]:
        for start in range(first, end, batch_size):
            places = order[start : min(start + batch_size, end)]
            ids_BL, keep_BL = encoder.pad([tokens[place] for place in places])
            with torch.inference_mode():
                stored = to_host(encoder.stem(ids_BL.to(device), keep_BL.to(device)))
            yield _Batch([ids[place] for place in places], stored, [len(tokens[place]) for place in places])

    about = {"encoder": name, **encoder.about(), "truncated": truncated}
    folder = work / digest_of([ids, batch_size]) if work else None  # an id is made of its text
    segment = _segment(_SEGMENT_TEXTS, batch_size)
    facts = {"about": about, "width": encoder.width, "code": code}
    return _store(batches, len(ids), out, unit="texts", work=folder, segment=segment, **facts)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Items under way: ``tokens()`` waits for ``[B, L, H]``; item b owns its first ``lengths[b]`` rows, or all L."""

    ids: list[str]
    tokens: Callable[[], np.ndarray]
    lengths: list[int] | None = None


def _store(batches: Callable[[int, int], Iterator[_Batch]], count: int, out: Path, **how: Any) -> int:
    """Write the batches of items (first, end) as one shard; ``how`` as :func:`write_showing` takes it."""

    def items_of(first: int, end: int) -> Iterator[Item]:
        for batch in one_behind(batches(first, end)):
            tokens_BLH = batch.tokens()
            for place, item_id in enumerate(batch.ids):
                yield item_id, tokens_BLH[place, : batch.lengths[place] if batch.lengths else None]

    return write_showing(out, count, items_of, **how)


def _segment(items: int, batch_size: int) -> int:
    """Return about so many items, in whole batches: the batches are then the same however often a job is killed."""
    return batch_size * max(1, items // batch_size)


def _picture(path: str, encoder: ImageEncoder) -> np.ndarray:
    from lile.data.images import load_image

    try:
        return encoder.transform.resized(load_image(Path(path)))
    except UNDECODABLE as error:
        raise undecodable(path, error) from error


def _encoded(texts: Sequence[str], encoder: TextEncoder) -> tuple[list[np.ndarray], int]:
    """Return each text's token ids, and how many texts were cut."""
    tokens: list[np.ndarray] = []
    truncated = 0
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        ids, cut = encoder.encode(texts[start : start + _TEXTS_AT_ONCE])
        tokens += [np.asarray(row, dtype=np.int32) for row in ids]
        truncated += cut
    return tokens, truncated
