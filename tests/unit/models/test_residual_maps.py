"""PVSE's m vectors: against their formula item by item, blind to padding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from parts_cases import check_every_parameter_learns, spoiled, tokens_of

from lile.models.penalties import diversity
from lile.models.residual_maps import ResidualMaps
from lile.models.tokens import Tokens

COUNTS = [3, 1, 5]


def pool_of(recurrent: bool) -> ResidualMaps:
    torch.manual_seed(0)
    return ResidualMaps(4, 5, maps=3, width=6, recurrent=recurrent).double()


def tokens_for(recurrent: bool, holes: int = 0) -> Tokens:
    return tokens_of(COUNTS, 4, 5, last=6 if recurrent else None, holes=holes)


@pytest.mark.parametrize("holes", [0, 2])
@pytest.mark.parametrize("recurrent", [True, False])
def test_vectors_follow_the_formula(recurrent, holes):
    pool, tokens = pool_of(recurrent), tokens_for(recurrent, holes)
    vectors, keep = pool(tokens)
    assert keep is None
    w1, w2 = pool.maps.hidden.weight, pool.maps.heads.weight
    assert w1.shape == (2, 4)  # half of the local width
    for item in range(3):
        local = tokens.local_BLH[item, tokens.keep_BL[item]]
        context = tokens.context_BLE[item, tokens.keep_BL[item]]
        whole = tokens.last_BE[item] if recurrent else pool.project.weight @ context.mean(0) + pool.project.bias
        for head in range(3):
            logits = torch.stack([w2[head] @ torch.tanh(w1 @ token) for token in local])
            attention = logits.exp() / logits.exp().sum()
            found = sum(weight * token for weight, token in zip(attention, local, strict=True))
            residual = 1 / (1 + (-(pool.maps.values.weight @ found + pool.maps.values.bias)).exp())
            both = whole + residual
            normed = (both - both.mean()) / (both.var(unbiased=False) + 1e-5).sqrt()
            torch.testing.assert_close(pool.residuals(tokens)[item, head], residual)
            torch.testing.assert_close(vectors[item, head], normed / normed.norm())


@pytest.mark.parametrize("recurrent", [True, False])
@pytest.mark.parametrize("value", [1e6, torch.inf, torch.nan])
def test_padding_changes_no_result_and_no_gradient(value, recurrent):
    pool, tokens = pool_of(recurrent), tokens_for(recurrent)
    local, keep = spoiled(tokens.local_BLH, tokens.keep_BL, value)
    context, _ = spoiled(tokens.context_BLE, tokens.keep_BL, value)
    padded = Tokens(local, context, keep, tokens.last_BE)
    longer = pool(padded).vectors
    torch.testing.assert_close(longer, pool(tokens).vectors)
    check_every_parameter_learns(pool, longer[..., 0].pow(3).sum() + diversity(pool.residuals(padded)))


def test_one_item_alone_is_what_it_is_in_a_batch():
    pool, tokens = pool_of(False), tokens_for(False)
    alone = Tokens(tokens.local_BLH[1:2, :1], tokens.context_BLE[1:2, :1], tokens.keep_BL[1:2, :1])
    torch.testing.assert_close(pool(alone).vectors[0], pool(tokens).vectors[1])


def test_an_item_without_tokens_is_an_error():
    tokens = tokens_for(True)
    with pytest.raises(ValueError, match="no token"):
        pool_of(True)(replace(tokens, keep_BL=tokens.keep_BL & False))
