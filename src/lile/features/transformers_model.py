"""Builds a transformers encoder and its tokenizer: strictly from a folder in the hub's layout, or at random."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lile.errors import InputError
from lile.features.encoder_config import RANDOM, EncoderConfig
from lile.features.parts import own_randomness
from lile.features.weights import TOKENIZER_FILES, has_tokenizer, random_digest, resolve_weights, weights_digest
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
    with own_randomness(seed_for(seed, "encoder", digest)), _quiet():
        model = _random_model(folder) if random else _pretrained_model(folder)
    model.pooler = None
    names = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
    tokens = digest_of({name: sha256_of(folder / name) for name in names})
    origin = {"origin": RANDOM if random else "pretrained", "weights_digest": digest, "tokenizer": tokens}
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
        raise InputError(f"{folder}: no model can be built from its config.json: {_one_line(error)}") from error


def _pretrained_model(folder: Path) -> Any:
    from transformers import AutoModel

    try:
        model, found = AutoModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    except Exception as error:  # transformers, torch and safetensors each raise kinds of their own
        raise InputError(f"{folder}: the model cannot be loaded from it: {_one_line(error)}") from error
    # transformers fills what a file lacks with random numbers; only the pooler, which we do not use, may be lacking.
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing or found["mismatched_keys"]:
        raise InputError(
            f"{folder}: the weights do not fill a {type(model).__name__}: missing {missing[:3]}, of another shape "
            f"{sorted(found['mismatched_keys'])[:3]}. Check that weights and config.json belong together"
        )
    return model


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
            f"{folder}: no tokenizer can be loaded from it ({_one_line(error)}); it needs {_THE_FILES}"
        ) from error
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise InputError(f"{folder}: its tokenizer has no padding token or no fast form; provide tokenizer.json")
    return tokenizer


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the loading report and bar of transformers: we check and say ourselves what does not fit."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
