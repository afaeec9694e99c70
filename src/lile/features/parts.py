"""Small pieces that image and text encoders share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Frozen(nn.Module):
    """A module that is not trained: no gradients for its parameters, and in evaluation mode whatever the caller sets.

    Args:
        inner: called with the same arguments.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Frozen:
        """Stay in evaluation mode: stored tokens were made without dropout."""
        super().train(False)
        return self

    def forward(self, *args: Tensor) -> Tensor:
        """Call the inner module."""
        return self.inner(*args)


class PassThrough(nn.Module):
    """The top of an encoder of which nothing is trained."""

    def forward(self, tokens_BLH: Tensor, keep_BL: Tensor) -> Tensor:
        """Return the tokens as they are."""
        return tokens_BLH


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Draw from ``seed`` inside the block and leave the global generators (CPU and CUDA) as they were."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would reseed the CUDA generators as well, which fork_rng does not restore here.
        torch.random.default_generator.manual_seed(seed)
        yield


def same_tokens(found: Tensor, expected: Tensor) -> bool:
    """Say whether two token tensors agree up to the rounding of another order of operations."""
    return found.shape == expected.shape and bool(torch.allclose(found, expected, rtol=1e-3, atol=1e-4))
