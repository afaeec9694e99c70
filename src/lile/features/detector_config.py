"""The config block of a Faster R-CNN, checked, and the file its weights lie in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lile.errors import InputError
from lile.features.encoder_config import RANDOM
from lile.features.libraries import DETECTOR, detector_rule
from lile.values import at_least, read_block

ARCHITECTURE = "fasterrcnn_resnet50_fpn_v2"
"""torchvision's name for the detector."""

TORCHVISION = "torchvision"
"""The word for torchvision's own weights, trained on COCO's boxes."""

LOCAL_FOLDER = Path("resources/encoders") / ARCHITECTURE
PUBLISHED_FILE = f"{ARCHITECTURE}_coco-dd69338a.pth"
"""The name that torchvision gives its file; the digits are the beginning of its SHA-256."""

_KINDS = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectorConfig:
    """One entry of ``encoders`` with library ``faster_rcnn``; :meth:`from_dict` checks it."""

    weights: str
    """``random``, ``torchvision``, a folder with one file of weights, or that file."""
    modality: str = "image"
    library: str = DETECTOR
    regions: int = 36
    """At most so many of an image."""
    nms_iou: float = 0.5
    """Of two boxes that overlap by more than this, the less confident one goes."""
    confidence: float = 0.0
    """Least probability of a region's best class."""
    batch_size: int = 8

    def __post_init__(self) -> None:
        """Refuse values that no detector can have."""
        if (self.modality, self.library) != ("image", DETECTOR):
            raise InputError(
                f"encoders: modality {self.modality!r} with library {self.library!r}; a Faster R-CNN is an image "
                f"encoder of library {DETECTOR}"
            )
        for name in ("regions", "batch_size"):
            at_least(f"encoders: {name}", getattr(self, name), 1)
        for name in ("nms_iou", "confidence"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
                raise InputError(f"encoders: {name} is {value!r}, it must be a number from 0 to 1")

    def rule(self) -> dict[str, Any]:
        """Return how regions are chosen, as a store keeps it: stores of another rule are refused."""
        return detector_rule({"regions": self.regions, "nms_iou": self.nms_iou, "confidence": self.confidence})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DetectorConfig:
        """Check a config block.

        Raises:
            InputError: a key is unknown or missing, or a value does not fit.
        """
        if not isinstance(values.get("weights"), str) or not values["weights"]:
            raise InputError("encoders: `weights` is missing: name a folder or file, or write torchvision or random")
        return read_block(cls, values, "encoders")


def local_file(weights: str) -> Path | None:
    """Return the file on this machine that holds a detector's weights; ``None`` where torchvision must fetch it.

    ``torchvision`` is looked for in ``resources/encoders/fasterrcnn_resnet50_fpn_v2/`` first. Light: imports no torch,
    so that the workflow can ask for the files a job reads.

    Args:
        weights: the config's word, not ``random``.

    Raises:
        InputError: a folder or file is named that is not there, or it is not clear which file of a folder is meant.
    """
    if weights == TORCHVISION:
        return _only_file(LOCAL_FOLDER) if LOCAL_FOLDER.is_dir() else None
    named = Path(weights)
    if named.is_dir():
        return _only_file(named)
    if named.suffix in _KINDS and named.is_file():
        return named
    raise InputError(
        f"{weights}: no weights of a detector. Name a folder with {PUBLISHED_FILE} or a .safetensors file, the file "
        f"itself, or write {TORCHVISION} or {RANDOM}"
    )


def input_files(weights: str) -> list[str]:
    """Return the local file that a job reads the weights from, where there is one."""
    try:
        path = None if weights == RANDOM else local_file(weights)
    except InputError:  # the check that runs first says what is wrong
        return []
    return [] if path is None else [str(path)]


def _only_file(folder: Path) -> Path:
    found = sorted(path for path in folder.iterdir() if path.suffix in _KINDS and not path.name.startswith("."))
    if len(found) != 1:
        names = [path.name for path in found]
        raise InputError(f"{folder}: needed is one file of weights, such as {PUBLISHED_FILE}; found {names[:8]}")
    return found[0]
