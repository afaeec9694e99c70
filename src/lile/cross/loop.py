"""The training loop of a cross-encoder: binary matches, AdamW, and a rate that rises and falls with the steps.

Shapes: S pairs of a step.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from lile.cross.config import CrossConfig, CrossTrainingConfig
from lile.cross.inputs import PairReader
from lile.cross.model import CrossEncoder
from lile.cross.pairs import Pairs, PairTable, epoch_steps, steps_of
from lile.errors import InputError
from lile.seeds import seed_for
from lile.training.progress import Progress, State

log = logging.getLogger(__name__)


@dataclass
class CrossTrainer:
    """One fold's training, epoch by epoch.

    Args:
        fabric: Lightning Fabric: device, precision, backward and clipping.
        model: the cross-encoder.
        forward: the same model as Fabric set it up.
        optimizer: as Fabric set it up.
        config: the row's knobs.
        table: right pairs of the training part.
        reader: gives pairs as tensors.
        scorer: scores of the row whose shortlist is re-ranked, for hard negatives.
        validate: gives the validation figures, with ``Rsum`` among them, from the model as it is.
        progress: where checkpoints live.
        seed: the fold's own seed.
        label: what progress bars and messages call this fold.
    """

    fabric: Any
    model: CrossEncoder
    forward: nn.Module
    optimizer: torch.optim.Optimizer
    config: CrossConfig
    table: PairTable
    reader: PairReader
    scorer: Callable[..., Any]
    validate: Callable[[], dict[str, float]]
    progress: Progress
    seed: int
    label: str

    def run(self) -> State:
        """Train until the last epoch or early stopping, from the last checkpoint if there is one."""
        parts = {"model": self.model, "optimizer": self.optimizer}
        state = self.progress.resume(parts, self.fabric.device)
        state.started_unix = state.started_unix or time.time()
        settings = self.config.training
        while state.epoch < settings.epochs and not _stale(state, settings):
            self._epoch(state)
            self.progress.save(state, parts, self.model.state_dict())
            last = state.history[-1]
            log.info(
                "%s epoch %d/%d: loss %.4f, validation R@sum %.1f (best %.1f in epoch %d), %.0f pairs/s",
                self.label, state.epoch, settings.epochs, last["loss"], last["validation"]["Rsum"], state.best_rsum,
                state.best_epoch, last["pairs_per_second"],
            )  # fmt: skip
        return state

    def _epoch(self, state: State) -> None:
        """Train and validate one epoch; note it in ``state``."""
        epoch, started = state.epoch + 1, time.time()
        torch.manual_seed(seed_for(self.seed, "dropout", epoch))  # a resumed run draws what an undisturbed one draws
        loss, pairs = self._train(epoch)
        train_s = time.time() - started
        rate = self.optimizer.param_groups[0]["lr"]
        validation = self.validate()
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
                "alpha": None,
                "pairs_per_second": pairs / train_s,
                "validation": validation,
                "best": best,
            }
        )

    def _train(self, epoch: int) -> tuple[float, int]:
        """Take one pass over the right pairs; return the mean loss per pair and the number of pairs, wrong ones too."""
        self.model.train()
        total, pairs = torch.zeros((), device=self.fabric.device), 0
        count = steps_of(len(self.table), self.config.negatives, self.config.training.batch_size)
        bar = tqdm(
            self._steps(epoch), total=count, desc=f"{self.label} epoch {epoch}", unit="step", disable=None, leave=False
        )
        for number, step in enumerate(bar, start=(epoch - 1) * count):
            total += self._step(step, number, count * self.config.training.epochs) * len(step)
            pairs += len(step)
        mean = float(total) / pairs
        if not math.isfinite(mean):
            raise InputError(f"{self.label}: the loss of epoch {epoch} is {mean}; lower training.learning_rate")
        return mean, pairs

    def _steps(self, epoch: int) -> Iterator[Pairs]:
        order = seed_for(self.seed, "order", epoch)
        size, top = self.config.training.batch_size, self.config.shortlist.top
        return epoch_steps(self.table, self.config.negatives, top, size, order, self.scorer)

    def _step(self, step: Pairs, number: int, steps: int) -> torch.Tensor:
        """Take the optimiser step ``number`` (from 0) of ``steps`` on S pairs; return its loss, a scalar."""
        images = [self.table.image_ids[place] for place in step.images]
        texts = [self.table.text_ids[place] for place in step.texts]
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(number, steps, self.config.training)
        logits_S = self.forward(*self.reader.read(images, texts, self.fabric.device))
        labels_S = torch.from_numpy(step.labels).to(self.fabric.device)
        # On the difference of two logits this is the cross-entropy of the two.
        loss = nn.functional.binary_cross_entropy_with_logits(logits_S.float(), labels_S)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        limit = self.config.training.clip_norm
        # Not finite: the epoch's mean loss says so, in words a user can act on.
        self.fabric.clip_gradients(self.forward, self.optimizer, max_norm=limit, error_if_nonfinite=False)
        self.optimizer.step()
        return loss.detach()


def rate_at(step: int, steps: int, settings: CrossTrainingConfig) -> float:
    """Return the learning rate of a step (from 0): straight up to the highest, then straight down towards zero."""
    rising = math.ceil(settings.warmup * steps)
    share = (step + 1) / rising if step < rising else (steps - step) / (steps - rising)
    return settings.learning_rate * share


def optimizer_of(model: CrossEncoder, settings: CrossTrainingConfig) -> torch.optim.Optimizer:
    """Return AdamW over what trains; weight decay is for matrices, not for biases and norms (as BERT's authors)."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [one for one in trained if one.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [one for one in trained if one.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, settings.learning_rate)


def _stale(state: State, settings: CrossTrainingConfig) -> bool:
    return state.epoch > 0 and state.epoch - state.best_epoch >= settings.patience
