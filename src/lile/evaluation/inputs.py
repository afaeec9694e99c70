"""From a fold's files to what training and evaluation need: tables, stores, encoders, the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from lile.data.records import read_descriptions, read_folds, read_images
from lile.errors import InputError
from lile.features.image_encoder import load_image_encoder
from lile.features.store import TokenStore
from lile.features.text_encoder import load_text_encoder
from lile.models.config import ModelConfig
from lile.models.lile import LILE
from lile.seeds import seed_for


@dataclass(frozen=True)
class FoldFiles:
    """Where a fold's inputs lie."""

    images_store: Sequence[Path]
    """Shards of the image encoder's token store."""
    texts_store: Sequence[Path]
    """Shards of the text encoder's token store."""
    images: Path
    """images.csv"""
    descriptions: Path
    """descriptions.csv"""
    folds: Path
    """folds.csv"""

    def all(self) -> Iterable[Path]:
        """Yield every input file."""
        yield from (*self.images_store, *self.texts_store, self.images, self.descriptions, self.folds)


@dataclass(frozen=True)
class FoldInputs:
    """A fold's tables and stores, opened, and a model whose tops fit the stores."""

    images: pd.DataFrame
    descriptions: pd.DataFrame
    folds: pd.DataFrame
    image_store: TokenStore
    text_store: TokenStore
    model: LILE
    encoders: Mapping[str, Mapping[str, Any]]
    """What each encoder says of itself: ``{"image": about, "text": about}``."""

    def descriptions_of(self, image_ids: Sequence[str]) -> pd.DataFrame:
        """Return the rows of ``descriptions`` that belong to these images."""
        return self.descriptions[self.descriptions["image_id"].isin(set(image_ids))]


def load_fold(config: Mapping[str, Any], files: FoldFiles) -> FoldInputs:
    """Open a fold's inputs and build its model with freshly initialised weights (the tops pretrained).

    Args:
        config: ``dataset, model, fold, seed, model_config, encoders: {image, text}`` as the workflow passes it.
        files: the inputs.

    Raises:
        InputError: a file that does not fit, weights that are missing, or a store made by other weights.
    """
    seed = config["seed"]
    image_encoder = load_image_encoder(config["encoders"]["image"], seed)
    text_encoder = load_text_encoder(config["encoders"]["text"], seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed_for(seed, "init", config["fold"]))
        model = LILE(
            ModelConfig.from_dict(config["model_config"]),
            image_encoder.width,
            text_encoder.width,
            image_encoder.top,
            text_encoder.top,
        )
    encoders = {"image": image_encoder.about(), "text": text_encoder.about()}
    return FoldInputs(
        images=read_images(files.images),
        descriptions=read_descriptions(files.descriptions),
        folds=read_folds(files.folds),
        image_store=TokenStore(files.images_store, expect=encoders["image"]),
        text_store=TokenStore(files.texts_store, expect=encoders["text"]),
        model=model,
        encoders=encoders,
    )


def images_with_role(folds: pd.DataFrame, fold: int, role: str) -> list[str]:
    """Return the ids of a fold's ``train``, ``validation`` or ``test`` images, in the order of ``folds``.

    Raises:
        InputError: the fold is not in the table, or no image has the role in it.
    """
    column = f"fold_{fold}"
    if column not in folds:
        raise InputError(f"folds.csv has no column {column}; found {list(folds.columns)[1:]}; set folds.count to match")
    ids = folds.loc[folds[column] == role, "image_id"].tolist()
    if not ids:
        raise InputError(f"folds.csv: no image is marked {role!r} in {column}; more images or another split is needed")
    return ids
