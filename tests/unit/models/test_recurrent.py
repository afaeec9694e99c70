"""The GRU over kept tokens: against its equations word by word, blind to padding."""

from __future__ import annotations

import pytest
import torch
from parts_cases import check_every_parameter_learns, ragged, spoiled

from lile.models.recurrent import Recurrent

COUNTS = [3, 1, 5, 2]


def read(gru: torch.nn.GRU, words: list[torch.Tensor], suffix: str) -> list[torch.Tensor]:
    """The states of one direction, one word after the other: the GRU's equations written out."""
    weights = {name: getattr(gru, f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    state, states = torch.zeros(gru.hidden_size, dtype=torch.float64), []
    for word in words:
        reset_in, update_in, new_in = (weights["weight_ih"] @ word + weights["bias_ih"]).chunk(3)
        reset_of, update_of, new_of = (weights["weight_hh"] @ state + weights["bias_hh"]).chunk(3)
        reset, update = torch.sigmoid(reset_in + reset_of), torch.sigmoid(update_in + update_of)
        state = (1 - update) * torch.tanh(new_in + reset * new_of) + update * state
        states.append(state)
    return states


@pytest.mark.parametrize("holes", [0, 3])
@pytest.mark.parametrize("both", [False, True])
def test_states_follow_the_equations(both, holes):
    torch.manual_seed(0)
    module = Recurrent(4, 3, both).double()
    tokens, keep = ragged(COUNTS, 4, holes=holes)
    context, last = module(tokens, keep)
    assert context.shape == (4, keep.shape[1], 3)
    for item in range(4):
        words = list(tokens[item, keep[item]])
        ahead = read(module.gru, words, "")
        behind = read(module.gru, words[::-1], "_reverse")[::-1] if both else ahead
        mean = torch.stack([(one + other) / 2 for one, other in zip(ahead, behind, strict=True)])
        torch.testing.assert_close(context[item, keep[item]], mean)
        torch.testing.assert_close(last[item], (ahead[-1] + behind[0 if both else -1]) / 2)
        assert context[item, ~keep[item]].abs().sum() == 0


@pytest.mark.parametrize("value", [1e6, torch.inf, torch.nan])
def test_padding_changes_no_result_and_no_gradient(value):
    torch.manual_seed(0)
    module = Recurrent(4, 3).double()
    tokens, keep = ragged(COUNTS, 4)
    found = module(tokens, keep)
    longer = module(*spoiled(tokens, keep, value))
    torch.testing.assert_close(longer[0][:, :5], found[0])
    torch.testing.assert_close(longer[1], found[1])
    check_every_parameter_learns(module, longer[0].square().sum() + longer[1].sum())


def test_an_item_reads_alone_as_in_a_batch():
    module = Recurrent(4, 3).double()
    tokens, keep = ragged(COUNTS, 4)
    context, last = module(tokens, keep)
    for item, count in enumerate(COUNTS):
        alone, final = module(tokens[item : item + 1, :count], keep[item : item + 1, :count])
        torch.testing.assert_close(alone[0], context[item, :count])
        torch.testing.assert_close(final[0], last[item])


def test_an_item_without_tokens_is_an_error():
    with pytest.raises(ValueError, match="no token"):
        Recurrent(4, 3)(torch.randn(2, 2, 4), torch.tensor([[True, False], [False, False]]))
