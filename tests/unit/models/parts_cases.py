"""Random ragged tokens for the tests of the parts of a model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lile.models.tokens import Tokens


def ragged(counts: list[int], width: int, seed: int = 0, holes: int = 0) -> tuple[Tensor, Tensor]:
    """Tokens [B, L, width] in float64 with ``counts`` kept per item, among them ``holes`` places that are not."""
    generator = torch.Generator().manual_seed(seed)
    longest = max(counts) + holes
    tokens = torch.randn(len(counts), longest, width, generator=generator, dtype=torch.float64)
    keep = torch.zeros(len(counts), longest, dtype=torch.bool)
    for item, count in enumerate(counts):
        places = torch.randperm(longest, generator=generator)[:count] if holes else torch.arange(count)
        keep[item, places] = True
    return tokens, keep


def spoiled(tokens: Tensor, keep: Tensor, value: float, more: int = 2) -> tuple[Tensor, Tensor]:
    """The same items with ``value`` at what is not kept, and ``more`` places of padding."""
    longer = torch.full((*tokens.shape[:1], more, tokens.shape[2]), value, dtype=tokens.dtype)
    tokens = torch.cat([tokens.masked_fill(~keep[..., None], value), longer], dim=1)
    return tokens, torch.cat([keep, keep.new_zeros(len(keep), more)], dim=1)


def tokens_of(
    counts: list[int], local: int, context: int, seed: int = 0, last: int | None = None, holes: int = 0
) -> Tokens:
    """Both stages of a side with random numbers; a final state of width ``last`` where one is asked for."""
    local_BLH, keep = ragged(counts, local, seed, holes)
    context_BLE = torch.randn(*keep.shape, context, dtype=torch.float64)
    return Tokens(local_BLH, context_BLE, keep, torch.randn(len(counts), last).double() if last else None)


def check_every_parameter_learns(module: nn.Module, loss: Tensor) -> None:
    """Every parameter has a finite gradient that is not all zero."""
    loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert parameter.grad.abs().sum() > 0, name
