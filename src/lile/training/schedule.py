"""The optimiser and what lowers its learning rate (PAPER.md section 5, and the baselines' own ways)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from lile.models.training_config import TrainingConfig


def optimizer_of(parameters: Iterable[nn.Parameter], settings: TrainingConfig) -> torch.optim.Optimizer:
    """Return Adam or AdamW over the parameters that train."""
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer]
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return kind(trained, settings.learning_rate, weight_decay=settings.weight_decay, amsgrad=settings.amsgrad)


class Schedule:
    """Lowers the rate where the validation R@sum stands still, or after fixed numbers of epochs.

    Args:
        optimizer: whose rate it is.
        settings: ``schedule`` says which, ``plateau`` and ``step`` how.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, settings: TrainingConfig) -> None:
        self.inner: Any
        if settings.schedule == "plateau":
            # More is better: PVSE's published code leaves torch's default, which lowers the rate when R@sum rises.
            self.inner = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, mode="max", factor=settings.plateau.factor, patience=settings.plateau.patience
            )
        else:
            self.inner = torch.optim.lr_scheduler.StepLR(optimizer, settings.step.epochs, settings.step.factor)

    def step(self, rsum: float) -> None:
        """Note the end of an epoch with this validation R@sum, 0 to 600."""
        if isinstance(self.inner, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.inner.step(rsum)
        else:
            self.inner.step()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training needs."""
        return self.inner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what :meth:`state_dict` gave."""
        self.inner.load_state_dict(state)
