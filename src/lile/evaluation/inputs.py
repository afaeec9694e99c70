"""From a fold's files to what training and evaluation need: tables, stores, encoders, the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from lile.data.records import read_descriptions, read_folds, read_images
from lile.data.vocabulary import Vocabulary
from lile.errors import InputError
from lile.evaluation.score import Store, compute_device
from lile.features.image_side import load_image_side
from lile.features.shard import read_index
from lile.features.store import TokenStore
from lile.features.text_encoder import load_text_encoder
from lile.features.word_store import WordStore
from lile.files import sha256_of
from lile.models.config import ModelConfig
from lile.models.model import RetrievalModel, SideParts
from lile.models.side_config import SideConfig
from lile.models.weights import load_weights
from lile.models.words import WordEmbedding
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
    text_store: Store
    model: RetrievalModel
    encoders: Mapping[str, Mapping[str, Any]]
    """What each encoder says of itself: ``{"image": about, "text": about}``."""

    def descriptions_of(self, image_ids: Sequence[str]) -> pd.DataFrame:
        """Return the rows of ``descriptions`` that belong to these images."""
        return self.descriptions[self.descriptions["image_id"].isin(set(image_ids))]


def digests_of(paths: Iterable[Path]) -> dict[str, str]:
    """Return what names the content of each file, by path.

    Of a token store it is made of its index, in which each item's sum stands: to read all its tokens would take minutes
    of every job on data like COCO. Of any other file it is the SHA-256.

    Raises:
        InputError: a store is missing or damaged.
    """
    return {str(path): read_index(path).digest if path.suffix == ".h5" else sha256_of(path) for path in paths}


def load_fold(config: Mapping[str, Any], files: FoldFiles) -> FoldInputs:
    """Open a fold's inputs and build its model with freshly initialised weights (the tops pretrained).

    Args:
        config: ``dataset, model, fold, seed, model_config, encoders: {image, text}`` as the workflow passes it.
        files: the inputs.

    Raises:
        InputError: a file that does not fit, weights that are missing, or a store made by other weights.
    """
    seed, fold = config["seed"], int(config["fold"])
    knobs = ModelConfig.from_dict(config["model_config"])
    images, descriptions, folds = (
        read_images(files.images),
        read_descriptions(files.descriptions),
        read_folds(files.folds),
    )
    text_store: Store
    with torch.random.fork_rng():
        torch.manual_seed(seed_for(seed, "init", fold))
        image = load_image_side(config["encoders"]["image"], seed, files.images_store)
        if knobs.text.source == "words":
            train = descriptions[descriptions["image_id"].isin(set(images_with_role(folds, fold, "train")))]
            text_parts, text_store, text_about = _words(knobs.text, descriptions, train)
        else:
            text_encoder = load_text_encoder(config["encoders"]["text"], seed)
            text_parts, text_about = SideParts(text_encoder.top, text_encoder.width), text_encoder.about()
            text_store = TokenStore(files.texts_store, expect=text_about)
        model = RetrievalModel(knobs, SideParts(image.top, image.width), text_parts)
    encoders = {"image": image.about, "text": text_about}
    return FoldInputs(images, descriptions, folds, image.store, text_store, model, encoders)


def _words(
    side: SideConfig, descriptions: pd.DataFrame, train: pd.DataFrame
) -> tuple[SideParts, WordStore, dict[str, Any]]:
    """Return the text side's embedding, the texts as word ids, and what they were made from.

    The vocabulary knows the words of the training descriptions alone.
    """
    texts = descriptions.drop_duplicates("text_id")
    vocabulary = Vocabulary.from_texts(train.drop_duplicates("text_id")["text"], side.min_count)
    store = WordStore(texts["text_id"].tolist(), texts["text"].tolist(), vocabulary)
    about = {"encoder": "words", "origin": "trained here", "vocabulary": len(vocabulary), "digest": vocabulary.digest}
    return SideParts(WordEmbedding(len(vocabulary), side.word_width), side.word_width), store, about


def load_members(config: Mapping[str, Any], files: FoldFiles, weights: Sequence[Path]) -> list[FoldInputs]:
    """Return a trained row, or an ensemble's, ready to score; arguments as ``evaluate_fold`` gets them."""
    members = [load_fold({**config, "model_config": one}, files) for one in config["members"]]
    for inputs, path in zip(members, weights, strict=True):
        load_weights(inputs.model, path)
        inputs.model.to(compute_device()).eval()
    return members


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
