"""Ragged items in chunks of like length are the same items."""

from __future__ import annotations

import torch
from torch import nn

from lile.models.lile import pooled
from lile.models.pooling import MapPooling


class Mixes(nn.Module):
    """A top in which every token sees every kept token of its item."""

    def forward(self, tokens, keep):
        return tokens + (tokens * keep[..., None]).sum(dim=1, keepdim=True)


def test_chunks_by_length_change_no_map_and_no_gradient():
    torch.manual_seed(0)
    lengths = torch.randint(1, 9, (50,))
    keep = torch.arange(8)[None] < lengths[:, None]
    tokens = torch.randn(50, 8, 5, dtype=torch.float64, requires_grad=True)
    pool, top = MapPooling(5, 3, 4).double(), Mixes()
    whole, chunked = pool(top(tokens, keep), keep), pooled(top, pool, tokens, keep)
    torch.testing.assert_close(chunked, whole)
    weight = torch.randn_like(whole)
    expected, found = (torch.autograd.grad((maps * weight).sum(), tokens)[0] for maps in (whole, chunked))
    torch.testing.assert_close(found, expected)
    for item in (0, 17, 49):
        alone = pooled(top, pool, tokens[item : item + 1], keep[item : item + 1])
        torch.testing.assert_close(chunked[item : item + 1], alone)
