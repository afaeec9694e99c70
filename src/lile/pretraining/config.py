"""The knobs of a pretraining: a block ``pretraining.<name>`` of the config. Defaults are ours, not KimiaNet's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lile.errors import InputError
from lile.values import Precision, at_least, one_of, positive, read_block

DataKind = Literal["folder", "csv", "nct_crc"]
Balance = Literal["none", "weighted_loss", "balanced_sampling"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnsConfig:
    """What a table calls the columns that are read."""

    image: str = "image"
    label: str = "label"
    group: str | None = None
    """Slide or patient: pictures of one group are never on both sides."""
    split: str | None = None
    """``train``, or one of the words for what is held out (``test``, ``validation``, ...)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Labelled pictures, and which of them are held out."""

    kind: DataKind
    root: str | None = None
    """Folder of the classes' folders; of a table, where its paths start (None: the table's folder)."""
    file: str | None = None
    """Table of kind ``csv``: .csv, .tsv, .jsonl or .json."""
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    group_pattern: str | None = None
    """Regular expression with one group that finds slide or patient in a path below ``root``; kind ``folder``."""
    held_out: float = 0.1
    """Share that is never trained on, where the data name none."""
    validation: float = 0.1
    """Share of the rest that chooses the epoch; not set aside where ``training.patience`` is None."""
    min_images: int = 10
    """A class with fewer is an error."""
    note: str | None = None
    """A sentence about the data that record and plot repeat."""
    download: bool = False
    """Whether the workflow fetches the data first; of no meaning to the stage."""

    def __post_init__(self) -> None:
        one_of("data.kind", self.kind, DataKind)
        at_least("data.min_images", self.min_images, 3)
        for name in ("held_out", "validation"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"data.{name}={getattr(self, name)} must lie between 0 and 1, both left out")
        needed = "file" if self.kind == "csv" else "root"
        if getattr(self, needed) is None:
            raise InputError(f"data.{needed} is missing: data of kind {self.kind} needs it")
        if self.group_pattern is not None:
            _check_pattern(self.group_pattern)


def _check_pattern(pattern: str) -> None:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise InputError(f"data.group_pattern={pattern!r} is no regular expression: {error}") from None
    if groups != 1:
        raise InputError(f"data.group_pattern={pattern!r} has {groups} groups; put one pair of round brackets in it")


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentationConfig:
    """What is changed in a training picture, anew in each epoch."""

    min_area: float = 0.5
    """A random part of at least this share of the picture is cut out and resized; 1 = always the whole."""
    flips: bool = True
    rotations: bool = True
    """By 0, 90, 180 or 270 degrees."""
    brightness: float = 0.1
    contrast: float = 0.1
    saturation: float = 0.1
    hue: float = 0.02
    """The last four: how far colours are shifted at most, as torchvision's ColorJitter takes it; stains differ."""

    def __post_init__(self) -> None:
        if not 0 < self.min_area <= 1:
            raise InputError(f"augmentation.min_area={self.min_area} must lie above 0 and at most at 1")
        for name, most in (("brightness", 1.0), ("contrast", 1.0), ("saturation", 1.0), ("hue", 0.5)):
            if not 0 <= getattr(self, name) <= most:
                raise InputError(f"augmentation.{name}={getattr(self, name)} must lie from 0 to {most}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """AdamW; the rate rises over ``warmup`` of all planned steps, then follows a cosine to zero."""

    epochs: int = 20
    """At most so many passes over the training pictures."""
    patience: int | None = 5
    """Stop after this many epochs without a better likelihood of the right class on the validation part (each class
    counts the same) and keep the best; None = run all epochs, keep the last, and set no validation part aside."""
    batch_size: int = 64
    learning_rate: float = 3.0e-4
    """At its highest."""
    warmup: float = 0.05
    """Share of the planned steps in which the rate rises."""
    weight_decay: float = 0.05
    """Of matrices and kernels; biases and norms are left alone."""
    label_smoothing: float = 0.1
    class_balance: Balance = "none"
    """``weighted_loss``: a class counts for what it is rarer; ``balanced_sampling``: each class is drawn as often."""
    clip_norm: float = 1.0
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        one_of("training.precision", self.precision, Precision)
        one_of("training.class_balance", self.class_balance, Balance)
        at_least("training.epochs", self.epochs, 1)
        at_least("training.batch_size", self.batch_size, 2)
        if self.patience is not None:
            at_least("training.patience", self.patience, 1)
        positive("training.learning_rate", self.learning_rate)
        positive("training.clip_norm", self.clip_norm)
        for name in ("warmup", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"training.{name}={getattr(self, name)} must lie from 0 up to, not at, 1")
        if not self.weight_decay >= 0:
            raise InputError(f"training.weight_decay={self.weight_decay} must not be negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainConfig:
    """An encoder that is trained to tell classes of pictures apart."""

    data: DataConfig
    start: str
    """Weights that training starts from, as an encoder names them, or ``random``."""
    config: str | None = None
    """Folder with the architecture; only with ``start: random``."""
    image_size_px: int = 224
    freeze_blocks: int = 0
    """So many of the first blocks, and what stands before them, keep their weights; 0 = all is trained."""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    training: FitConfig = field(default_factory=FitConfig)

    def __post_init__(self) -> None:
        at_least("image_size_px", self.image_size_px, 16)
        at_least("freeze_blocks", self.freeze_blocks, 0)
        if (self.start == "random") != (self.config is not None):
            raise InputError(
                f"start {self.start!r} with config {self.config!r}: random weights need a folder with config.json "
                "under `config`; other weights bring their own, so leave `config` out"
            )
        if self.start == "random" and self.freeze_blocks:
            raise InputError(f"freeze_blocks={self.freeze_blocks} would keep random weights; set it to 0")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PretrainConfig:
        """Read a config block. Raises :class:`InputError` for an unknown key (with the nearest one) or a bad value."""
        missing = [name for name in ("data", "start") if name not in values]
        if missing:
            raise InputError(f"{missing[0]} is missing")
        data = dict(values["data"])
        data["columns"] = read_block(ColumnsConfig, data.get("columns", {}), "data.columns")
        blocks: dict[str, Any] = {"data": read_block(DataConfig, data, "data")}
        for name, kind in (("augmentation", AugmentationConfig), ("training", FitConfig)):
            blocks[name] = read_block(kind, values.get(name, {}), name)
        return read_block(cls, {**values, **blocks}, "pretraining")

    def to_dict(self) -> dict[str, Any]:
        """Return the block with every default written out."""
        return asdict(self)
