"""Runs the frozen stems over a data set and stores their tokens.

Sharding: of N shards, shard k takes items k, k + N, k + 2 N, ... of the table (for texts: of the distinct texts in the
order in which they first come), so that shards take equally long whatever the table is sorted by.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from lile.features.pipeline import (
    UNDECODABLE,
    ahead_of,
    best_device,
    one_behind,
    share_of,
    to_host,
    undecodable,
)
from lile.features.shard_writer import write_store

if TYPE_CHECKING:  # types only: a change of one modality's encoder must not plan the other's tokens
    import pandas as pd

    from lile.features.image_encoder import ImageEncoder
    from lile.features.text_encoder import TextEncoder

log = logging.getLogger(__name__)

_TEXTS_AT_ONCE = 1024  # handed to the tokenizer in one call


def extract_image_tokens(
    images: pd.DataFrame,
    encoder: ImageEncoder,
    out: Path,
    *,
    name: str,
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

    def batches() -> Iterator[_Batch]:
        pictures = ahead_of(lambda path: _picture(path, encoder), paths, threads, 2 * batch_size + threads)
        for start in range(0, len(ids), batch_size):
            batch = [next(pictures) for _ in ids[start : start + batch_size]]
            with torch.inference_mode():
                pixels = encoder.transform.normalised(torch.from_numpy(np.stack(batch)).to(device))
                stored = to_host(encoder.stem(pixels))
            yield _Batch(ids[start : start + batch_size], stored)

    about = {"encoder": name, **encoder.about()}
    return _store(batches(), len(ids), out, about=about, width=encoder.width, code=code, unit="images")


def extract_text_tokens(
    descriptions: pd.DataFrame,
    encoder: TextEncoder,
    out: Path,
    *,
    name: str,
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

    def batches() -> Iterator[_Batch]:
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            ids_BL, keep_BL = encoder.pad([tokens[place] for place in places])
            with torch.inference_mode():
                stored = to_host(encoder.stem(ids_BL.to(device), keep_BL.to(device)))
            yield _Batch([ids[place] for place in places], stored, [len(tokens[place]) for place in places])

    about = {"encoder": name, **encoder.about(), "truncated": truncated}
    return _store(batches(), len(ids), out, about=about, width=encoder.width, code=code, unit="texts")


@dataclass(frozen=True, slots=True)
class _Batch:
    """Items under way: ``tokens()`` waits for ``[B, L, H]``; item b owns its first ``lengths[b]`` rows, or all L."""

    ids: list[str]
    tokens: Callable[[], np.ndarray]
    lengths: list[int] | None = None


def _store(
    batches: Iterator[_Batch], count: int, out: Path, *, about: dict[str, Any], width: int, code: str | None, unit: str
) -> int:
    """Write all batches as one shard, showing how far it is."""
    started = time.perf_counter()

    def items() -> Iterator[tuple[str, np.ndarray]]:
        # disable=None: a bar for a person at a terminal, none in a log file.
        with tqdm(total=count, unit=f" {unit}", desc=out.name, disable=None) as bar:
            for batch in one_behind(batches):
                tokens_BLH = batch.tokens()
                for place, item_id in enumerate(batch.ids):
                    yield item_id, tokens_BLH[place, : batch.lengths[place] if batch.lengths else None]
                bar.update(len(batch.ids))

    written = write_store(out, items(), about, code=code, width=width)
    seconds = max(time.perf_counter() - started, 1e-9)
    log.info("%s: %d %s in %.1f s, %.1f per second", out, written, unit, seconds, written / seconds)
    return written


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
