"""VSE-infinity's pooling: against a loop over dimensions, its limits mean and maximum, blind to padding."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from parts_cases import check_every_parameter_learns, spoiled, tokens_of
from torch.nn.functional import normalize

from lile.models.generalised_pooling import GeneralisedPooling, position_codes

COUNTS = [3, 1, 5, 3]


def pool_of(seed: int = 0) -> GeneralisedPooling:
    torch.manual_seed(seed)
    return GeneralisedPooling(4, 6, position_width=8, hidden=5).double()


def slow_weights(pool: GeneralisedPooling, count: int) -> torch.Tensor:
    """The weights of one item alone: every position through the GRU, softmax with temperature 0.1."""
    codes = torch.zeros(1, count, 8, dtype=torch.float64)
    for position in range(count):
        for pair in range(4):
            angle = position / 10_000 ** (2 * pair / 8)
            codes[0, position, 2 * pair], codes[0, position, 2 * pair + 1] = math.sin(angle), math.cos(angle)
    both, _ = pool.recurrent.gru(codes)
    mean = (both[0, :, :5] + both[0, :, 5:]) / 2
    return ((mean @ pool.weigh.weight[0]) / 0.1).softmax(dim=0)


@pytest.mark.parametrize("holes", [0, 2])
def test_it_follows_the_formula(holes):
    pool = pool_of()
    tokens = tokens_of(COUNTS, 3, 4, holes=holes)
    vectors, keep = pool(tokens)
    assert keep is None
    assert vectors.shape == (4, 1, 6)
    for item, count in enumerate(COUNTS):
        own = tokens.context_BLE[item, tokens.keep_BL[item]]
        projected = own @ pool.project.weight.T + pool.project.bias
        weights = slow_weights(pool, count)
        pooled = [
            sum(w * v for w, v in zip(weights, sorted(column.tolist(), reverse=True), strict=True))
            for column in projected.T
        ]
        expected = normalize(torch.stack(pooled), dim=0)
        torch.testing.assert_close(vectors[item, 0], expected, rtol=0, atol=1e-6)  # position codes are float32


def test_position_codes_by_hand():
    expected = [[0.0, 1.0, 0.0, 1.0], [math.sin(1), math.cos(1), math.sin(0.01), math.cos(0.01)]]
    torch.testing.assert_close(position_codes(2, 4), torch.tensor(expected))


def test_weights_sum_to_one_over_an_items_own_length():
    weights = pool_of().weights(torch.tensor([3, 1, 5, 3]))
    torch.testing.assert_close(weights.sum(1), torch.ones(4, dtype=torch.float64))
    assert (weights > 0).sum(1).tolist() == [3, 1, 5, 3]
    torch.testing.assert_close(weights[0], weights[3], rtol=0, atol=0)


@pytest.mark.parametrize(("kind", "expected"), [("mean", [2.0, 1.0]), ("max", [3.0, 4.0])])
def test_mean_and_maximum_are_settings_of_it(kind, expected):
    """Tokens (1, 4), (2, 0), (3, -1): equal weights give (2, 1); all weight on the first rank (3, 4)."""
    pool = GeneralisedPooling(2, 2, position_width=2, hidden=1).double()
    with torch.no_grad():
        for parameter in pool.parameters():
            parameter.zero_()
        pool.project.weight.copy_(torch.eye(2))
        if kind == "max":  # h of rank r is tanh-bounded and falls with the rank: the code's cosine drives it
            for name in ("weight_ih_l0", "weight_ih_l0_reverse"):
                getattr(pool.recurrent.gru, name)[2, 1] = 5.0
            pool.weigh.weight.fill_(1000.0)
    context = torch.tensor([[[1.0, 4.0], [2.0, 0.0], [3.0, -1.0]]], dtype=torch.float64)
    tokens = replace(tokens_of([3], 2, 2), context_BLE=context)
    torch.testing.assert_close(pool(tokens).vectors[0, 0], normalize(torch.tensor(expected).double(), dim=0))


@pytest.mark.parametrize("value", [1e6, torch.inf, torch.nan])
def test_padding_changes_no_result_and_no_gradient(value):
    pool = pool_of()
    tokens = tokens_of(COUNTS, 3, 4)
    context, keep = spoiled(tokens.context_BLE, tokens.keep_BL, value)
    longer = pool(replace(tokens, context_BLE=context, keep_BL=keep)).vectors
    torch.testing.assert_close(longer, pool(tokens).vectors)
    check_every_parameter_learns(pool, longer[..., 0].pow(3).sum())


def test_the_order_of_tokens_does_not_matter():
    pool, tokens = pool_of(), tokens_of([5, 5], 3, 4)
    turned = replace(tokens, context_BLE=tokens.context_BLE.flip(1))
    torch.testing.assert_close(pool(turned).vectors, pool(tokens).vectors)


def test_an_item_without_tokens_is_an_error():
    tokens = tokens_of([2, 1], 3, 4)
    tokens.keep_BL[1] = False
    with pytest.raises(ValueError, match="no token"):
        pool_of()(tokens)
