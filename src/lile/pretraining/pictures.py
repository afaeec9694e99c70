"""Training pictures, changed anew in every epoch, decoded ahead by worker processes.

What is done to a picture depends on the seed, the epoch and its place alone: not on workers, nor on what a killed run
had already drawn. Shapes: B pictures of a batch, S pixels a side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lile.data.images import load_image
from lile.errors import InputError
from lile.features.parts import own_randomness
from lile.features.pixels import PixelTransform
from lile.pretraining.config import AugmentationConfig, Balance
from lile.seeds import seed_for

Key = tuple[int, int]
"""(epoch, place); epoch 0 leaves the picture as it is."""

PLAIN = 0


def augmentation(config: AugmentationConfig, transform: PixelTransform) -> Any:
    """Return the changes of torchvision that ``config`` asks for, from a picture to one of ``[S, S]`` pixels."""
    from torchvision.transforms import InterpolationMode, v2

    steps: list[Any] = [
        v2.RandomResizedCrop(
            transform.size_px,
            scale=(config.min_area, 1.0),
            ratio=(3 / 4, 4 / 3) if config.min_area < 1 else (1.0, 1.0),
            interpolation=InterpolationMode(transform.interpolation),
        )
    ]
    if config.flips:
        steps += [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
    if config.rotations:  # by quarters alone: nothing is resampled and no corner is left empty
        steps.append(v2.RandomChoice([v2.Identity(), *(v2.RandomRotation((turn, turn)) for turn in (90, 180, 270))]))
    jitter = (config.brightness, config.contrast, config.saturation, config.hue)
    return v2.Compose([*steps, *([v2.ColorJitter(*jitter)] if any(jitter) else [])])


@dataclass
class Pictures(Dataset[tuple[np.ndarray, int]]):
    """Labelled pictures by (epoch, place), each as uint8 ``[S, S, 3]`` with the number of its class."""

    paths: Sequence[str]
    labels: Sequence[int]
    transform: PixelTransform
    augmentation: AugmentationConfig
    seed: int

    def __post_init__(self) -> None:
        self._change = augmentation(self.augmentation, self.transform)

    def __getitem__(self, key: Key) -> tuple[np.ndarray, int]:
        """Open, change and resize one picture.

        Raises:
            InputError: it cannot be opened any more.
        """
        epoch, place = key
        try:
            picture = load_image(Path(self.paths[place]))
        except InputError as error:
            # A worker's error is made again from one text.
            raise InputError(f"{error}; it could be opened when this pretraining began") from None
        if epoch != PLAIN:
            with own_randomness(seed_for(self.seed, "augment", epoch, place)):
                picture = self._change(picture)
        return self.transform.resized(picture), self.labels[place]


@dataclass
class Order(Sampler[list[Key]]):
    """The batches of an epoch, which is set before each pass."""

    batches_of: Any
    """From an epoch to its batches of places."""
    epoch: int = PLAIN

    def __iter__(self) -> Iterator[list[Key]]:
        """Yield batches of keys."""
        for places in self.batches_of(self.epoch):
            yield [(self.epoch, int(place)) for place in places]


class Reader:
    """Reads pictures in batches; its worker processes live as long as it does.

    Args:
        pictures: all of a part.
        batches_of: from an epoch to its batches of places.
        workers: processes that decode; 0 decodes here.
    """

    def __init__(self, pictures: Pictures, batches_of: Any, workers: int) -> None:
        self._order = Order(batches_of)
        self._loader: Any = DataLoader(
            pictures,
            batch_sampler=self._order,
            num_workers=workers,
            collate_fn=_stacked,
            persistent_workers=workers > 0,
            prefetch_factor=4 if workers else None,
            # spawn, not fork: this process holds threads and locks of torch.
            multiprocessing_context="spawn" if workers else None,
            generator=torch.Generator(),  # else each pass would draw from the generator that dropout draws from
        )

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield pixels uint8 ``[B, S, S, 3]`` and labels int64 ``[B]`` of an epoch; 0 changes no picture."""
        self._order.epoch = epoch
        yield from self._loader


def _stacked(items: list[tuple[np.ndarray, int]]) -> tuple[Tensor, Tensor]:
    pixels, labels = zip(*items, strict=True)
    return torch.from_numpy(np.stack(pixels)), torch.tensor(labels, dtype=torch.int64)


def training_batches(labels: Sequence[int], size: int, balance: Balance, seed: int) -> list[np.ndarray]:
    """Return an epoch's batches of places: as many pictures as there are, in batches of (nearly) equal size.

    Args:
        labels: of all pictures.
        size: B at most.
        balance: ``balanced_sampling`` draws a class, then one of its pictures, both evenly; else each comes once.
        seed: of the epoch.
    """
    rng = np.random.default_rng(seed)
    if balance == "balanced_sampling":
        of_class = [np.flatnonzero(np.asarray(labels) == number) for number in range(max(labels) + 1)]
        drawn = rng.integers(len(of_class), size=len(labels))
        order = np.array([rng.choice(of_class[number]) for number in drawn])
    else:
        order = rng.permutation(len(labels))
    # Equal sizes: batch norm cannot train on a last batch of one.
    return np.array_split(order, math.ceil(len(order) / size))


def plain_batches(count: int, size: int) -> list[np.ndarray]:
    """Return batches of all places in order."""
    return np.array_split(np.arange(count), math.ceil(count / size))
