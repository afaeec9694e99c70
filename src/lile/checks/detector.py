"""Whether a Faster R-CNN's weights are there, or can be fetched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.request import Request, urlopen

from lile.checks.findings import Check, failed, passed, warned
from lile.errors import InputError
from lile.features.detector_config import DetectorConfig, local_file
from lile.features.encoder_config import RANDOM

_PATIENCE_SECONDS = 10


def check_detector(title: str, block: Mapping[str, Any]) -> Check:
    """Return what was found of an encoder of library ``faster_rcnn``, without loading it.

    Args:
        title: what the finding is called.
        block: its config.
    """
    try:
        config = DetectorConfig.from_dict(dict(block))
        if config.weights == RANDOM:
            fix = "every table it feeds says so; write weights: torchvision for real results"
            return warned(title, "random weights: its boxes are noise", fix)
        path = local_file(config.weights)
    except InputError as error:
        return failed(title, str(error), "")
    return passed(title, f"weights in {path}") if path is not None else _of_torchvision(title)


def _of_torchvision(title: str) -> Check:
    from lile.features.detector import cached_file, published_url, what_to_fetch

    path = cached_file()
    if path is not None:
        return passed(title, f"weights in {path}")
    try:
        with urlopen(Request(published_url(), method="HEAD"), timeout=_PATIENCE_SECONDS):
            return passed(title, f"weights will be fetched: {published_url()}")
    except (OSError, ValueError) as error:  # URLError is an OSError
        return failed(title, what_to_fetch(error), "")
