"""The training loop: ours, and short (PAPER.md section 5).

Shapes: B pairs of a batch.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from lile.errors import InputError
from lile.models.config import ModelConfig
from lile.models.losses import negatives_of, triplet_loss
from lile.models.model import RetrievalModel
from lile.models.training_config import TrainingConfig
from lile.seeds import seed_for
from lile.training.pairs import Batch
from lile.training.progress import Progress, State
from lile.training.schedule import Schedule

log = logging.getLogger(__name__)


@dataclass
class Trainer:
    """One fold's training, epoch by epoch.

    Args:
        fabric: Lightning Fabric: device, precision, backward and clipping.
        model: what is trained.
        forward: the same model as Fabric set it up: with its precision, and one process a device.
        optimizer: as Fabric set it up.
        config: the model's knobs.
        epoch_batches: gives an epoch's batches and their number.
        validate: gives the validation figures, with ``Rsum`` among them, from the model as it is.
        progress: where checkpoints live.
        seed: the fold's own seed.
        label: what progress bars and messages call this fold.
    """

    fabric: Any
    model: RetrievalModel
    forward: nn.Module
    optimizer: torch.optim.Optimizer
    config: ModelConfig
    epoch_batches: Callable[[int], tuple[Iterator[Batch], int]]
    validate: Callable[[], dict[str, float]]
    progress: Progress
    seed: int
    label: str

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.optimizer, self.config.training)
        self.parts = {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}

    def run(self) -> State:
        """Train until the last epoch or early stopping, from the last checkpoint if there is one."""
        state = self.progress.resume(self.parts, self.fabric.device)
        state.started_unix = state.started_unix or time.time()
        settings = self.config.training
        while not finished(state, settings):
            self._epoch(state)
            self.progress.save(state, self.parts, self.model.state_dict())
            log.info(*_message(self.label, state, settings))
        return state

    def _epoch(self, state: State) -> None:
        """Train and validate one epoch; note it in ``state``."""
        epoch, started = state.epoch + 1, time.time()
        rate = self.optimizer.param_groups[0]["lr"]
        torch.manual_seed(seed_for(self.seed, "dropout", epoch))  # a resumed run draws what an undisturbed one draws
        loss, pairs = self._train(epoch)
        train_s = time.time() - started
        validation = self.validate()
        self.schedule.step(validation["Rsum"])
        if best := validation["Rsum"] > state.best_rsum:
            state.best_rsum, state.best_epoch = validation["Rsum"], epoch
        state.epoch = epoch
        state.history.append(
            {
                "epoch": epoch,
                "time_unix": time.time(),
                "seconds": time.time() - started,
                "loss": loss,
                "learning_rate": rate,
                "alpha": None if (alpha := self.model.matcher.alpha) is None else float(alpha.detach()),
                "pairs_per_second": pairs / train_s,
                "validation": validation,
                "best": best,
            }
        )

    def _train(self, epoch: int) -> tuple[float, int]:
        """Take one pass over the pairs; return the mean loss per pair and the number of pairs."""
        self.model.train()
        total, pairs = torch.zeros((), device=self.fabric.device), 0
        batches, count = self.epoch_batches(epoch)
        # A bar on a terminal; in a log file one line per epoch is enough.
        bar = tqdm(batches, total=count, desc=f"{self.label} epoch {epoch}", unit="batch", disable=None, leave=False)
        for number, batch in enumerate(bar, start=(epoch - 1) * count):
            loss = self.step(batch, number)
            total += loss * len(batch.groups)
            pairs += len(batch.groups)
        mean = float(total) / pairs
        if not mean < float("inf"):
            raise InputError(f"{self.label}: the loss of epoch {epoch} is {mean}; lower training.learning_rate")
        return mean, pairs

    def step(self, batch: Batch, number: int) -> torch.Tensor:
        """Take the optimiser step ``number`` (from 0) on a batch; return its loss, a scalar.

        Raises:
            InputError: training diverged.
        """
        try:
            scores_BB, terms = self.forward(*self._thinned(batch))
        except InputError as error:  # weights that are not finite any more give maps that are not
            raise InputError(f"{self.label}: step {number + 1}: {error}; lower training.learning_rate") from None
        negatives_BB = negatives_of(batch.groups, batch.images, batch.texts)
        settings = self.config.loss
        negatives = "mean" if number < settings.warmup_steps else settings.negatives
        loss = triplet_loss(scores_BB, negatives_BB, settings.margin, negatives, settings.reduction)
        loss = loss + sum(getattr(settings, name) * term for name, term in terms.items())
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        limit = self.config.training.clip_norm
        # Not finite: the epoch's mean loss says so, in words a user can act on.
        self.fabric.clip_gradients(self.forward, self.optimizer, max_norm=limit, error_if_nonfinite=False)
        self.optimizer.step()
        return loss.detach()

    def _thinned(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Return the batch's tokens and masks, some tokens left out at random where the config says so."""
        share = self.config.training.drop_tokens
        image_keep, text_keep = (thinned(keep, share) for keep in (batch.image_keep, batch.text_keep))
        return batch.image_tokens, image_keep, batch.text_tokens, text_keep


def thinned(keep_BL: torch.Tensor, share: float) -> torch.Tensor:
    """Return ``keep_BL`` without a random share of its tokens, drawn for each; an item's first token always stays."""
    if share == 0:
        return keep_BL
    stays_BL = torch.rand(keep_BL.shape, device=keep_BL.device) >= share
    stays_BL[:, 0] = True
    return keep_BL & stays_BL


def finished(state: State, settings: TrainingConfig) -> bool:
    """Whether training has reached its last epoch, or its best epoch lies ``patience`` epochs back."""
    stale = state.epoch - state.best_epoch >= settings.patience and state.epoch > 0
    return state.epoch >= settings.epochs or stale


def _message(label: str, state: State, settings: TrainingConfig) -> tuple[Any, ...]:
    last = state.history[-1]
    left_s = (settings.epochs - state.epoch) * last["seconds"]
    return (
        "%s epoch %d/%d: loss %.4f, validation R@sum %.1f (best %.1f in epoch %d), %.0f pairs/s, at most %.0f s left",
        label, state.epoch, settings.epochs, last["loss"], last["validation"]["Rsum"], state.best_rsum,
        state.best_epoch, last["pairs_per_second"], left_s,
    )  # fmt: skip
