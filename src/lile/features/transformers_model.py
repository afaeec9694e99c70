"""Builds a transformers encoder and its tokenizer: strictly from a folder in the hub's layout, or at random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lile.errors import InputError
from lile.features.encoder_config import RANDOM, EncoderConfig
from lile.features.layouts import TOKENIZER_FILES, has_tokenizer
from lile.features.pretrained import build_model, one_line
from lile.features.weights import resolve_weights
from lile.files import digest_of, sha256_of

_THE_FILES = "tokenizer.json, or vocab.json and merges.txt, or vocab.txt, of the same model"


def build_transformers(config: EncoderConfig, seed: int) -> tuple[Any, Any, dict[str, Any]]:
    """Build the model and the tokenizer that ``config`` names.

    Args:
        config: of a text encoder.
        seed: the run's seed; random weights are a function of the architecture and of it.

    Returns:
        The model as :func:`build_model` gives it; the tokenizer; and ``{"origin", "weights_digest", "tokenizer"}``, the
        last a digest of the tokenizer's files.

    Raises:
        InputError: the weights or the tokenizer are missing or do not fit, or the model is of an unknown kind.
    """
    random = config.weights == RANDOM
    tokenizer = load_tokenizer(Path(str(config.config)) if random else resolve_weights(config.weights, config.layout))
    model, folder, origin = build_model(config, seed)
    return model, tokenizer, origin | {"tokenizer": tokenizer_digest(folder)}


def tokenizer_digest(folder: Path) -> str:
    """Return 16 hex digits that name the tokenizer's files in ``folder``."""
    names = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
    return digest_of({name: sha256_of(folder / name) for name in names})


def load_tokenizer(folder: Path, kind: str = "AutoTokenizer") -> Any:
    """Return the tokenizer of a folder in the hub's layout: a fast one, with padding.

    Args:
        folder: holds the tokenizer's files.
        kind: a class of transformers, for folders whose config.json is too old to name one.

    Raises:
        InputError: its files are missing or damaged, or it cannot pad.
    """
    import transformers

    # Without these files transformers makes a tokenizer that knows no words, and says nothing.
    if not has_tokenizer(folder):
        raise InputError(f"{folder}: no tokenizer: it needs {_THE_FILES}")
    try:
        tokenizer = getattr(transformers, kind).from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare exceptions on a damaged file
        raise InputError(
            f"{folder}: no tokenizer can be loaded from it ({one_line(error)}); it needs {_THE_FILES}"
        ) from error
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise InputError(f"{folder}: its tokenizer has no padding token or no fast form; provide tokenizer.json")
    return tokenizer
