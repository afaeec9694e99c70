"""The training of a row of shared parts: ours, and short (PAPER.md section 5).

Shapes: B pairs of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from tqdm import tqdm

from lile.errors import InputError
from lile.models.config import ModelConfig
from lile.models.losses import negatives_of, triplet_loss
from lile.models.model import RetrievalModel
from lile.models.training_config import TrainingConfig
from lile.training.epochs import EpochLoop
from lile.training.pairs import Batch
from lile.training.schedule import Schedule


@dataclass(kw_only=True)
class Trainer(EpochLoop):
    """A row of shared parts: the triplet loss over batches of right pairs.

    Args:
        config: the model's knobs.
        epoch_batches: gives an epoch's batches and their number.
    """

    model: RetrievalModel
    config: ModelConfig
    epoch_batches: Callable[[int], tuple[Iterator[Batch], int]]

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.optimizer, self.config.training)

    @property
    def settings(self) -> TrainingConfig:
        """The row's ``training`` block."""
        return self.config.training

    @property
    def alpha(self) -> float | None:
        """Alpha as it stands; None for a matcher that has none."""
        alpha = self.model.matcher.alpha
        return None if alpha is None else float(alpha.detach())

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
        return float(total) / pairs, pairs

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
        return self._descend(loss)

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
