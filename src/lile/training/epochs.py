"""What every training does epoch by epoch: train, validate, note, keep a checkpoint, stop early."""

from __future__ import annotations

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import nn

from lile.errors import InputError
from lile.seeds import seed_for
from lile.training.progress import Progress, State

if TYPE_CHECKING:  # a type only: pretraining runs this loop without a schedule, and must not run again for it
    from lile.training.schedule import Schedule

log = logging.getLogger(__name__)


class Settings(Protocol):
    """What a loop reads of a row's ``training`` block."""

    @property
    def epochs(self) -> int:
        """At most so many."""

    @property
    def patience(self) -> int:
        """Epochs without a better validation figure before training stops."""

    @property
    def clip_norm(self) -> float:
        """The gradient's norm is clipped to this."""


@dataclass(kw_only=True)
class EpochLoop(ABC):
    """One training; a kind of row says how an epoch's steps are taken, and which figure chooses the epoch.

    Args:
        fabric: Lightning Fabric: device, precision, backward and clipping.
        model: what is trained.
        forward: the same model as Fabric set it up: with its precision, and one process a device.
        optimizer: as Fabric set it up.
        validate: gives the validation figures from the model as it is; the one named ``criterion`` chooses the epoch.
        progress: where checkpoints live.
        seed: the training's own seed.
        label: what progress bars and messages call it.
        schedule: what lowers the rate after an epoch; None where it follows the steps.
    """

    criterion: ClassVar[str] = "Rsum"
    unit: ClassVar[str] = "pairs"

    fabric: Any
    model: nn.Module
    forward: nn.Module
    optimizer: torch.optim.Optimizer
    validate: Callable[[], dict[str, float]]
    progress: Progress
    seed: int
    label: str
    schedule: Schedule | None = None

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """The row's ``training`` block."""

    @property
    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds: objects with ``state_dict``."""
        schedule = {} if self.schedule is None else {"schedule": self.schedule}
        return {"model": self.model, "optimizer": self.optimizer, **schedule}

    @property
    def alpha(self) -> float | None:
        """The weight of the cross terms (Eq. 5), for models that have one."""
        return None

    @property
    def notes(self) -> dict[str, Any]:
        """What this kind of row notes of an epoch beside what all do."""
        return {"alpha": self.alpha}

    @abstractmethod
    def _train(self, epoch: int) -> tuple[float, int]:
        """Take one pass over the training part; return the mean loss per unit and the number of units."""

    def run(self) -> State:
        """Train until the last epoch or early stopping, from the last checkpoint if there is one."""
        state = self.progress.resume(self.parts, self.fabric.device)
        state.started_unix = state.started_unix or time.time()
        while not finished(state, self.settings):
            self._epoch(state)
            self.progress.save(state, self.parts, self.model.state_dict())
            log.info(*self._message(state))
        return state

    def _epoch(self, state: State) -> None:
        """Train and validate one epoch; note it in ``state``."""
        epoch, started = state.epoch + 1, time.time()
        torch.manual_seed(seed_for(self.seed, "dropout", epoch))  # a resumed run draws what an undisturbed one draws
        loss, units = self._train(epoch)
        if not math.isfinite(loss):
            raise InputError(f"{self.label}: the loss of epoch {epoch} is {loss}; lower training.learning_rate")
        train_s = time.time() - started
        rate = self.optimizer.param_groups[0]["lr"]
        validation = self.validate()
        if self.schedule is not None:
            self.schedule.step(validation[self.criterion])
        # Without a validation part there is nothing to choose by: the last epoch is kept.
        value = validation.get(self.criterion, float(epoch))
        if best := value > state.best_value:
            state.best_value, state.best_epoch = value, epoch
        state.epoch = epoch
        state.history.append(
            {
                "epoch": epoch,
                "time_unix": time.time(),
                "seconds": time.time() - started,
                "loss": loss,
                "learning_rate": rate,
                f"{self.unit}_per_second": units / train_s,
                **self.notes,
                "validation": validation,
                "best": best,
            }
        )

    def _descend(self, loss: torch.Tensor) -> torch.Tensor:
        """Take one optimiser step down the gradient of a scalar; return the scalar without its graph."""
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        limit = self.settings.clip_norm
        # Not finite: the epoch's mean loss says so, in words a user can act on.
        self.fabric.clip_gradients(self.forward, self.optimizer, max_norm=limit, error_if_nonfinite=False)
        self.optimizer.step()
        return loss.detach()

    def _message(self, state: State) -> tuple[Any, ...]:
        last, epochs = state.history[-1], self.settings.epochs
        left_s = (epochs - state.epoch) * last["seconds"]
        value = last["validation"].get(self.criterion)
        said = f"{self.criterion} {value:.4g}, best in epoch {state.best_epoch}" if value is not None else "none"
        return (
            "%s epoch %d/%d: loss %.4f, validation %s, %.0f %s/s, at most %.0f s left",
            self.label, state.epoch, epochs, last["loss"], said, last[f"{self.unit}_per_second"], self.unit, left_s,
        )  # fmt: skip


def finished(state: State, settings: Settings) -> bool:
    """Whether training has reached its last epoch, or its best epoch lies ``patience`` epochs back."""
    stale = state.epoch - state.best_epoch >= settings.patience and state.epoch > 0
    return state.epoch >= settings.epochs or stale
