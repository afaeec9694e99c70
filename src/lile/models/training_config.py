"""The knobs of one fold's training (PAPER.md section 5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lile.errors import InputError
from lile.values import Precision, at_least, one_of

Optimizer = Literal["adam", "adamw"]
Schedule = Literal["plateau", "step"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlateauConfig:
    """The learning rate falls when the validation R@sum stands still (PAPER.md section 5)."""

    patience: int = 2
    """Epochs without a better validation R@sum before the rate falls."""
    factor: float = 0.5
    """What the rate is multiplied by."""

    def __post_init__(self) -> None:
        at_least("training.plateau.patience", self.patience, 0)
        _fraction("training.plateau.factor", self.factor)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepConfig:
    """The learning rate falls after fixed numbers of epochs, as in IMRAM, SCAN and VSRN."""

    epochs: int = 10
    """The rate falls after every so many epochs."""
    factor: float = 0.1
    """What the rate is multiplied by."""

    def __post_init__(self) -> None:
        at_least("training.step.epochs", self.epochs, 1)
        _fraction("training.step.factor", self.factor)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """One fold's training."""

    batch_size: int = 128
    """Image-text pairs a step; every other pair of the batch gives negatives."""
    epochs: int = 30
    """At most this many passes over the training descriptions; 0 trains nothing (zero-shot)."""
    optimizer: Optimizer = "adam"
    learning_rate: float = 1.0e-4
    """The optimiser's, at the start."""
    amsgrad: bool = False
    weight_decay: float = 0.0
    patience: int = 5
    """Stop after this many epochs without a better validation R@sum."""
    schedule: Schedule = "plateau"
    """Which of the two below lowers the rate."""
    plateau: PlateauConfig = field(default_factory=PlateauConfig)
    step: StepConfig = field(default_factory=StepConfig)
    clip_norm: float = 2.0
    """The gradient's norm is clipped to this."""
    drop_tokens: float = 0.0
    """Share of an item's stored tokens left out at random in each training step (VSE-infinity: 0.2); one stays."""
    precision: Precision = "auto"
    """``auto``: bfloat16 where the device is a GPU that has it, else 32-bit."""
    validation_images: int = 1000
    """At most this many validation images (a seeded draw) are scored after each epoch, with all their descriptions."""

    def __post_init__(self) -> None:
        one_of("training.precision", self.precision, Precision)
        one_of("training.optimizer", self.optimizer, Optimizer)
        one_of("training.schedule", self.schedule, Schedule)
        at_least("training.batch_size", self.batch_size, 2)
        at_least("training.epochs", self.epochs, 0)
        at_least("training.patience", self.patience, 1)
        at_least("training.validation_images", self.validation_images, 2)
        if not self.learning_rate > 0 or not self.clip_norm > 0:
            raise InputError("training.learning_rate and training.clip_norm must be positive")
        if not self.weight_decay >= 0:
            raise InputError(f"training.weight_decay={self.weight_decay} must not be negative")
        if not 0 <= self.drop_tokens < 1:
            raise InputError(f"training.drop_tokens={self.drop_tokens} must lie from 0 up to, not at, 1")


def _fraction(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise InputError(f"{name}={value} must lie between 0 and 1, both left out")
