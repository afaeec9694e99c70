"""Map pooling: against the formula, and blind to padding."""

from __future__ import annotations

import pytest
import torch

from lile.models.pooling import MapPooling
from lile.models.tokens import Tokens


def maps_of(pool, tokens, keep):
    return pool(Tokens(tokens, tokens, keep)).vectors


def test_maps_follow_the_formula():
    torch.manual_seed(0)
    pool = MapPooling(token_width=5, maps=3, width=4).double()
    tokens = torch.randn(2, 6, 5, dtype=torch.float64)
    keep = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    found = maps_of(pool, tokens, keep)
    for item, count in enumerate((6, 4)):
        own = tokens[item, :count]
        attention = (torch.tanh(own @ pool.hidden.weight.T) @ pool.heads.weight.T).softmax(dim=0).T
        expected = pool.norm(attention @ (own @ pool.values.weight.T + pool.values.bias))
        torch.testing.assert_close(found[item], expected)


def test_each_map_may_have_a_projection_of_its_own():
    torch.manual_seed(1)
    pool = MapPooling(token_width=5, maps=3, width=4, own_values=True).double()
    tokens, keep = torch.randn(2, 6, 5, dtype=torch.float64), torch.ones(2, 6, dtype=torch.bool)
    attended = pool.attention(tokens, keep) @ tokens
    weights, biases = pool.values.weight.view(3, 4, 5), pool.values.bias.view(3, 4)
    expected = torch.stack([attended[:, one] @ weights[one].T + biases[one] for one in range(3)], dim=1)
    torch.testing.assert_close(maps_of(pool, tokens, keep), pool.norm(expected))


def test_padding_never_counts_even_if_it_is_not_finite():
    pool = MapPooling(token_width=5, maps=3, width=4)
    tokens = torch.randn(2, 6, 5)
    longer = torch.cat([tokens, torch.full((2, 3, 5), torch.inf)], dim=1)
    keep = torch.arange(9)[None].expand(2, 9) < 6
    expected = maps_of(pool, tokens, torch.ones(2, 6, dtype=torch.bool))
    torch.testing.assert_close(maps_of(pool, longer, keep), expected)
    assert pool.attention(longer.nan_to_num(posinf=1e3), keep)[..., 6:].abs().max() == 0


def test_an_item_without_tokens_is_an_error():
    with pytest.raises(ValueError, match="no token"):
        maps_of(MapPooling(5, 3, 4), torch.randn(1, 2, 5), torch.zeros(1, 2, dtype=torch.bool))
