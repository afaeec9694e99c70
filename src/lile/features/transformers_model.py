"""Builds a transformers encoder and its tokenizer: strictly from a folder in the hub's layout, or at random."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lile.errors import InputError
from lile.features.encoder_config import RANDOM, EncoderConfig
from lile.features.layouts import TOKENIZER_FILES, has_tokenizer
from lile.features.parts import own_randomness
from lile.features.pretrained import one_line, pretrained_model, quiet
from lile.features.weights import random_digest, resolve_weights, weights_digest
from lile.files import digest_of, sha256_of
from lile.seeds import seed_for

_THE_FILES = "tokenizer.json, or vocab.json and merges.txt, or vocab.txt, of the same model"


def build_transformers(config: EncoderConfig, seed: int) -> tuple[Any, Any, dict[str, Any]]:
    """Build the model and the tokenizer that ``config`` names.

    Args:
        config: of a text encoder.
        seed: the run's seed; random weights are a function of the architecture and of it.

    Returns:
        The model without its pooler, float32 and in evaluation mode; the tokenizer; and
        ``{"origin", "weights_digest", "tokenizer"}``, the last a digest of the tokenizer's files.

    Raises:
        InputError: the weights or the tokenizer are missing or do not fit, or the model is of an unknown kind.
    """
    random = config.weights == RANDOM
    folder = Path(str(config.config)) if random else resolve_weights(config.weights)
    tokenizer = load_tokenizer(folder)
    digest = random_digest(_read_config(folder), seed) if random else weights_digest(folder)
    with own_randomness(seed_for(seed, "encoder", digest)), quiet():
        model = _random_model(folder) if random else pretrained_model(folder)
    model.pooler = None
    origin = {"origin": RANDOM if random else "pretrained", "weights_digest": digest}
    origin["tokenizer"] = tokenizer_digest(folder)
    return model.float().eval(), tokenizer, origin


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / 'config.json'}: no readable config of a transformers model ({error})") from error


def _random_model(folder: Path) -> Any:
    from transformers import AutoConfig, AutoModel

    try:
        return AutoModel.from_config(AutoConfig.from_pretrained(folder, local_files_only=True))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: no model can be built from its config.json: {one_line(error)}") from error


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
