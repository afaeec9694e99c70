"""The training of a classifier: cross-entropy with smoothed labels, a rate that rises and then follows a cosine.

Shapes: B pictures of a batch, C classes, N pictures of a part, S pixels a side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from lile.features.pixels import PixelTransform
from lile.pretraining.config import FitConfig
from lile.pretraining.network import train_mode
from lile.pretraining.pictures import PLAIN, Reader
from lile.training.epochs import EpochLoop


@dataclass(kw_only=True)
class Pretrainer(EpochLoop):
    """A classifier of pictures. The epoch is chosen by likelihood, for accuracy stands still at 100 % on easy data.

    Args:
        config: the training's knobs.
        transform: gives the model's input.
        reader: of the training pictures.
        steps: batches of an epoch.
        weights_C: what a picture of each class counts for; None = all the same.
    """

    criterion: ClassVar[str] = "balanced_likelihood"
    unit: ClassVar[str] = "images"

    config: FitConfig
    transform: PixelTransform
    reader: Reader
    steps: int
    weights_C: Tensor | None = None

    @property
    def settings(self) -> Any:
        """The training's knobs; without patience it runs to its last epoch."""
        return _Settings(self.config.epochs, self.config.patience or self.config.epochs, self.config.clip_norm)

    @property
    def notes(self) -> dict[str, Any]:
        """Nothing beside what every loop notes."""
        return {}

    def _train(self, epoch: int) -> tuple[float, int]:
        """Take one pass over the training pictures; return the mean loss per picture and the number of pictures."""
        train_mode(self.model)
        total, count = torch.zeros((), device=self.fabric.device), 0
        words = f"{self.label} epoch {epoch}"
        bar = tqdm(self.reader.batches(epoch), total=self.steps, desc=words, unit="batch", disable=None, leave=False)
        for number, (pixels, labels_B) in enumerate(bar, start=(epoch - 1) * self.steps):
            for group in self.optimizer.param_groups:
                group["lr"] = rate_at(number, self.steps * self.config.epochs, self.config)
            logits_BC = self.forward(self.transform.normalised(pixels.to(self.fabric.device)))
            loss = nn.functional.cross_entropy(
                logits_BC.float(), labels_B.to(self.fabric.device), self.weights_C,
                label_smoothing=self.config.label_smoothing,
            )  # fmt: skip
            total += self._descend(loss) * len(labels_B)
            count += len(labels_B)
        return float(total) / count, count


@dataclass(frozen=True)
class _Settings:
    epochs: int
    patience: int
    clip_norm: float


def rate_at(step: int, steps: int, config: FitConfig) -> float:
    """Return the learning rate of a step (from 0): straight up to the highest, then a half cosine towards zero."""
    rising = math.ceil(config.warmup * steps)
    if step < rising:
        return config.learning_rate * (step + 1) / rising
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(steps - rising, 1)))


def optimizer_of(model: nn.Module, config: FitConfig) -> torch.optim.Optimizer:
    """Return AdamW over what trains; biases, norms and what the model itself excepts do not decay."""
    from timm.optim import param_groups_weight_decay

    excepted: set[str] = getattr(model, "no_weight_decay", set)()
    groups = param_groups_weight_decay(model, config.weight_decay, no_weight_decay_list=excepted)
    return torch.optim.AdamW(groups, config.learning_rate)


def class_weights(labels: list[int], classes: int) -> Tensor:
    """Return what a picture of each class counts for, float32 ``[C]``: the rarer, the more; 1 on average."""
    counts_C = np.bincount(labels, minlength=classes)
    return torch.tensor(len(labels) / (classes * counts_C), dtype=torch.float32)


def predict(model: nn.Module, forward: nn.Module, transform: PixelTransform, reader: Reader, device: Any) -> np.ndarray:
    """Return the probability of every class for the pictures of a reader as they are, float32 ``[N, C]``."""
    model.eval()
    found = []
    with torch.inference_mode():
        for pixels, _ in reader.batches(PLAIN):
            logits_BC = forward(transform.normalised(pixels.to(device)))
            found.append(logits_BC.float().softmax(-1).cpu().numpy())
    return np.concatenate(found)
