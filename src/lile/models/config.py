"""The knobs of a model, as PAPER.md sections 3 to 5 name them; each default is the reading taken there.

A block ``models.<name>`` of the config becomes one :class:`ModelConfig`. Unknown keys are refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar

from lile.errors import InputError
from lile.matching.config import MatchingConfig
from lile.values import at_least, one_of

Preset = Literal["paper", "scaled", "custom"]
Negatives = Literal["hardest", "sum", "mean"]
Precision = Literal["auto", "32", "bf16"]

Block = TypeVar("Block")


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolingConfig:
    """From tokens to ``m`` maps (PAPER.md section 3)."""

    hidden: int | None = None
    """Width of the hidden layer ``W1``; ``None`` is half of the encoder's width, as in PVSE."""

    def __post_init__(self) -> None:
        if self.hidden is not None:
            at_least("pooling.hidden", self.hidden, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """Eq. 8 (PAPER.md section 5)."""

    margin: float = 0.2
    """Delta of Eq. 8, against the score as ``matching.reduce`` leaves it."""
    negatives: Negatives = "hardest"
    """Per anchor: its hardest negative, the sum over all, or the mean over all."""
    warmup_steps: int = 0
    """Optimiser steps at the start that take the mean over all negatives: from random weights the hardest negative
    alone can pull everything into one point, where the loss stays at twice the margin (VSE-infinity's remedy)."""

    def __post_init__(self) -> None:
        one_of("loss.negatives", self.negatives, Negatives)
        at_least("loss.warmup_steps", self.warmup_steps, 0)
        if not self.margin > 0:
            raise InputError(f"loss.margin={self.margin} must be positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class PlateauConfig:
    """When the learning rate falls (PAPER.md section 5)."""

    patience: int = 2
    """Epochs without a better validation R@sum before the rate falls."""
    factor: float = 0.5
    """What the rate is multiplied by."""

    def __post_init__(self) -> None:
        at_least("training.plateau.patience", self.patience, 0)
        if not 0 < self.factor < 1:
            raise InputError(f"training.plateau.factor={self.factor} must lie between 0 and 1, both left out")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """One fold's training (PAPER.md section 5)."""

    batch_size: int = 128
    """Image-text pairs a step; every other pair of the batch gives negatives."""
    epochs: int = 30
    """At most this many passes over the training descriptions."""
    learning_rate: float = 1.0e-4
    """Adam's, at the start."""
    patience: int = 5
    """Stop after this many epochs without a better validation R@sum."""
    plateau: PlateauConfig = field(default_factory=PlateauConfig)
    clip_norm: float = 2.0
    """The gradient's norm is clipped to this."""
    precision: Precision = "auto"
    """``auto``: bfloat16 where the device is a GPU that has it, else 32-bit."""
    validation_images: int = 1000
    """At most this many validation images (a seeded draw) are scored after each epoch, with all their descriptions."""

    def __post_init__(self) -> None:
        one_of("training.precision", self.precision, Precision)
        at_least("training.batch_size", self.batch_size, 2)
        at_least("training.epochs", self.epochs, 1)
        at_least("training.patience", self.patience, 1)
        at_least("training.validation_images", self.validation_images, 2)
        if not self.learning_rate > 0 or not self.clip_norm > 0:
            raise InputError("training.learning_rate and training.clip_norm must be positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """One block ``models.<name>`` of the config."""

    preset: Preset = "paper"
    """What a table calls this row: ``paper`` sums Eq. 7, ``scaled`` takes its mean, ``custom`` is anything else."""
    maps: int = 16
    """m, the vectors an item is pooled into."""
    width: int = 1024
    """d, the width of the joint embedding."""
    steps: int = 2
    """K, the matching steps of Eq. 7."""
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        one_of("preset", self.preset, Preset)
        for name in ("maps", "width", "steps"):
            at_least(name, getattr(self, name), 1)
        promised = {"paper": "sum", "scaled": "mean"}.get(self.preset)
        if promised and self.matching.reduce != promised:
            raise InputError(
                f"preset {self.preset!r} means matching.reduce: {promised}, found {self.matching.reduce!r}; "
                "set matching.reduce to that, or preset: custom"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Read a config block. Raises :class:`InputError` for an unknown key (with the nearest one) or a bad value."""
        nested = {"pooling": PoolingConfig, "matching": MatchingConfig, "loss": LossConfig}
        blocks: dict[str, Any] = {name: _read(kind, values.get(name, {}), name) for name, kind in nested.items()}
        training = dict(values.get("training", {}))
        training["plateau"] = _read(PlateauConfig, training.get("plateau", {}), "training.plateau")
        blocks["training"] = _read(TrainingConfig, training, "training")
        return _read(cls, {**values, **blocks}, "model")

    def to_dict(self) -> dict[str, Any]:
        """Return the block with every default written out."""
        return asdict(self)


def _read(kind: type[Block], values: Mapping[str, Any], where: str) -> Block:
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise InputError(f"unknown key {where}.{name}; {hint}")
    return kind(**values)
