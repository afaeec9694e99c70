"""Builds torchvision's Faster R-CNN (ResNet-50 FPN v2) with weights from a file, from torchvision, or random ones.

Its box head gives 1,024 numbers for a region. The published weights were trained on the boxes of COCO's train2017,
91 classes with the background.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lile.errors import InputError
from lile.features.detector_config import (
    ARCHITECTURE,
    LOCAL_FOLDER,
    PUBLISHED_FILE,
    TORCHVISION,
    DetectorConfig,
    local_file,
)
from lile.features.encoder_config import RANDOM
from lile.features.parts import own_randomness
from lile.features.weights import random_digest
from lile.files import digest_of, sha256_of
from lile.seeds import seed_for

if TYPE_CHECKING:
    from torchvision.models.detection import FasterRCNN

_CLASSES = 91  # COCO's, with the background and the numbers that COCO never used
_SCORES = "roi_heads.box_predictor.cls_score.weight"


def build_detector(config: DetectorConfig, seed: int) -> tuple[FasterRCNN, dict[str, Any]]:
    """Build the detector that ``config`` names, in evaluation mode.

    Args:
        config: its weights; weights of another number of classes than COCO's are taken as they are.
        seed: the run's seed; only random weights depend on it. The global random state is left alone.

    Returns:
        The model, and ``{"origin", "weights_digest"}``.

    Raises:
        InputError: the weights are missing, damaged or of another model; says which file to fetch and where to put it.
    """
    if config.weights == RANDOM:
        digest = random_digest({"architecture": ARCHITECTURE, "classes": _CLASSES}, seed)
        with own_randomness(seed_for(seed, "encoder", digest)):
            return _empty(_CLASSES).eval(), {"origin": RANDOM, "weights_digest": digest}
    path = local_file(config.weights) or _fetched()
    weights = _read(path)
    with own_randomness(0):  # drawn and then overwritten
        model = _empty(len(weights[_SCORES]) if _SCORES in weights else _CLASSES)
    _fill(model, weights, path)
    return model.eval(), {"origin": "pretrained", "weights_digest": digest_of([sha256_of(path)])}


def cached_file() -> Path | None:
    """Return torchvision's own file in torch hub's cache, where it is there."""
    path = _cache() / PUBLISHED_FILE
    return path if path.is_file() else None


def published_url() -> str:
    """Return where torchvision's weights lie."""
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_V2_Weights

    url: str = FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1.url
    return url


def what_to_fetch(error: Exception) -> str:
    """Return one line for weights that cannot be had: which file to download, and where to put it."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
    return (
        f"no weights for {TORCHVISION!r}: not in {LOCAL_FOLDER}/, not in torch hub's cache {_cache()}/, and not to be "
        f"fetched ({reason}). Download {published_url()} into {LOCAL_FOLDER}/"
    )


def _cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _empty(classes: int) -> FasterRCNN:
    from torchvision.models import detection

    return getattr(detection, ARCHITECTURE)(weights=None, weights_backbone=None, num_classes=classes)


def _fetched() -> Path:
    """Return torch hub's copy of torchvision's weights, fetched where missing; its name holds digits of its digest."""
    found = cached_file()
    if found is not None:
        return found
    path, digits = _cache() / PUBLISHED_FILE, Path(PUBLISHED_FILE).stem.rsplit("-", maxsplit=1)[-1]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(published_url(), str(path), hash_prefix=digits, progress=False)
    except Exception as error:  # URLError, timeouts, a wrong digest: each of its own kind
        raise InputError(what_to_fetch(error)) from error
    return path


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name; a training checkpoint's are under ``model``."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, pickle and safetensors each raise kinds of their own on damaged files
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: cannot be read as weights ({reason}). Fetch the file again") from error
    weights = found.get("model", found) if isinstance(found, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise InputError(f"{path}: holds no dictionary of tensors by name, as a model's state_dict is")
    return weights


def _fill(model: FasterRCNN, weights: dict[str, Tensor], path: Path) -> None:
    try:
        found = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # torch names each tensor whose shape differs
        raise InputError(f"{path}: does not fit {ARCHITECTURE}: {' '.join(str(error).split())[:300]}") from error
    if found.missing_keys or found.unexpected_keys:
        raise InputError(
            f"{path}: does not fit {ARCHITECTURE}: missing {found.missing_keys[:3]}, unexpected "
            f"{found.unexpected_keys[:3]}. Needed is {PUBLISHED_FILE}, or weights of the same model"
        )
