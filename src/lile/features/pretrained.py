"""Loads a transformers model from a folder in the hub's layout, strictly: nothing of it may stay random."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lile.errors import InputError


def pretrained_model(folder: Path) -> Any:
    """Return the model that ``config.json`` of ``folder`` names, with the folder's weights.

    Raises:
        InputError: it cannot be built or read, or the weights leave a part of it unset.
    """
    from transformers import AutoModel

    try:
        model, found = AutoModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    except Exception as error:  # transformers, torch and safetensors each raise kinds of their own
        raise InputError(f"{folder}: the model cannot be loaded from it: {one_line(error)}") from error
    # transformers fills what a file lacks with random numbers; only the pooler, which we do not use, may be lacking.
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing or found["mismatched_keys"]:
        raise InputError(
            f"{folder}: the weights do not fill a {type(model).__name__}: missing {missing[:3]}, of another shape "
            f"{sorted(found['mismatched_keys'])[:3]}. Check that weights and config.json belong together"
        )
    return model


def one_line(error: Exception) -> str:
    """Return the beginning of what an error says, on one line."""
    return " ".join(str(error).split())[:300]


@contextmanager
def quiet() -> Iterator[None]:
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
