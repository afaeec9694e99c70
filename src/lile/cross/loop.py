"""The training loop of a cross-encoder: binary matches, AdamW, and a rate that rises and falls with the steps.

Shapes: S pairs of a step.
"""

from __future__ import annotations

import math
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
from lile.seeds import seed_for
from lile.training.epochs import EpochLoop


@dataclass(kw_only=True)
class CrossTrainer(EpochLoop):
    """A cross-encoder: right and wrong pairs, told apart one by one.

    Args:
        config: the row's knobs.
        table: right pairs of the training part.
        reader: gives pairs as tensors.
        scorer: scores of the row whose shortlist is re-ranked, for hard negatives.
    """

    config: CrossConfig
    table: PairTable
    reader: PairReader
    scorer: Callable[..., Any]

    @property
    def settings(self) -> CrossTrainingConfig:
        """The row's ``training`` block."""
        return self.config.training

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
        return float(total) / pairs, pairs

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
        return self._descend(loss)


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
