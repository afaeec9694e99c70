"""From a fold's files to what a cross-encoder row needs: regions, words, the model, and the row whose list it re-ranks.

Shapes: B pairs, L words, R regions, F width of a stored token, T stored tokens of an image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lile.cross.config import CrossConfig
from lile.cross.model import CrossEncoder
from lile.cross.weights import load_cross_encoder
from lile.cross.words import PairWords, read_tags
from lile.evaluation.inputs import FoldFiles
from lile.features.image_side import open_image_store
from lile.features.store import TokenStore


@dataclass(frozen=True)
class CrossFiles:
    """Where a fold's inputs lie."""

    base: FoldFiles
    """What the row that makes the shortlist reads."""
    base_weights: Sequence[Path]
    """Its ``model.safetensors`` of this fold, or those of an ensemble's members."""
    regions_store: Sequence[Path]
    """Shards of the dataset's image encoder."""
    tags: Path | None = None

    def all(self) -> Iterable[Path]:
        """Yield every input file that all folds share, each once."""
        tags = [] if self.tags is None else [self.tags]
        yield from dict.fromkeys([*self.base.all(), *self.regions_store, *tags])


@dataclass(frozen=True)
class PairReader:
    """Reads pairs of an image and a text as the tensors that :class:`CrossEncoder` takes."""

    regions: TokenStore
    words: PairWords
    max_regions: int

    def read_regions(self, image_ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return regions float16 ``[B, R, F]`` and keep bool ``[B, R]``, R at most ``max_regions``."""
        rows = self.regions.rows_of(image_ids)
        tokens_BTF, keep_BT = self.regions.read(rows)
        places_BR = spread(keep_BT.sum(axis=1), self.max_regions)
        keep_BR = places_BR >= 0
        regions_BRF = np.take_along_axis(tokens_BTF, np.maximum(places_BR, 0)[..., None], axis=1)
        return np.where(keep_BR[..., None], regions_BRF, np.float16(0)), keep_BR

    def read(self, image_ids: Sequence[str], text_ids: Sequence[str], device: torch.device) -> tuple[Tensor, ...]:
        """Return the pairs (image b, text b) as the arguments of the model; regions are float32."""
        images, image_B = np.unique(np.asarray(image_ids, dtype=object), return_inverse=True)
        regions_IRF, keep_IR = self.read_regions(images.tolist())  # an image in several pairs is read once
        arrays = (*self.words.read(text_ids, image_ids), regions_IRF[image_B], keep_IR[image_B])
        words, segments, word_keep, regions, region_keep = (torch.from_numpy(one).to(device) for one in arrays)
        return words, segments, word_keep, regions.float(), region_keep


def spread(lengths_B: np.ndarray, most: int) -> np.ndarray:
    """Return which tokens of each item are read, int64 ``[B, R]``: all, or ``most`` evenly over all; -1 is padding.

    Stored tokens are mostly a grid, row by row: the first ``most`` of them would be the upper part of the image.
    """
    count_B = np.minimum(lengths_B, most)
    places_R = np.arange(int(count_B.max(initial=0)))
    places_BR = places_R[None, :] * lengths_B[:, None] // np.maximum(count_B, 1)[:, None]
    return np.where(places_R[None, :] < count_B[:, None], places_BR, -1)


@dataclass(frozen=True)
class CrossParts:
    """The model and what it reads."""

    config: CrossConfig
    model: CrossEncoder
    reader: PairReader
    encoders: Mapping[str, Mapping[str, Any]]
    """What the image encoder and the BERT say of themselves: ``{"image": about, "text": about}``."""


def load_cross(config: Mapping[str, Any], files: CrossFiles, descriptions: pd.DataFrame) -> CrossParts:
    """Open what the row reads and build its model as it is before training.

    Args:
        config: ``seed, cross_config, regions`` (the image encoder's block) as the workflow passes it.
        files: the inputs.
        descriptions: whose texts are read.

    Raises:
        InputError: a file that does not fit, weights that are missing, or a store made by other weights.
    """
    knobs = CrossConfig.from_dict(config["cross_config"])
    regions = open_image_store(config["regions"], config["seed"], files.regions_store)
    model, tokenizer, text_about = load_cross_encoder(knobs, regions.width, config["seed"])
    texts = descriptions.drop_duplicates("text_id")
    captions = dict(zip(texts["text_id"], texts["text"], strict=True))
    tags = read_tags(files.tags) if files.tags is not None else {}
    words = PairWords(tokenizer, captions, tags, knobs.max_words, knobs.max_tags)
    reader = PairReader(regions, words, knobs.max_regions)
    return CrossParts(knobs, model, reader, {"image": regions.about, "text": text_about})
