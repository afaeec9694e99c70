"""VSRN's graph: against its formula region by region, the identity at the start, blind to padding."""

from __future__ import annotations

import pytest
import torch
from parts_cases import check_every_parameter_learns, ragged, spoiled

from lile.models.graph import GraphLayer, RegionGraph

COUNTS = [3, 1, 5]


def awake(layers: int = 2, seed: int = 0) -> RegionGraph:
    """A graph whose layers do something: batch norm's scale starts at zero."""
    torch.manual_seed(seed)
    graph = RegionGraph(4, 6, layers).double()
    for layer in graph.layers:
        torch.nn.init.normal_(layer.norm.weight)
        torch.nn.init.normal_(layer.norm.bias)
    return graph


def slow_layer(layer: GraphLayer, items: list[torch.Tensor]) -> list[torch.Tensor]:
    """The formula for each region alone; batch norm over all regions of the batch."""
    outs = []
    for regions in items:
        for own in regions:
            seen = torch.zeros(3, dtype=torch.float64)
            for other in regions:
                seen = seen + (layer.theta(own) @ layer.phi(other)) / len(regions) * layer.values(other)
            outs.append(layer.out(seen))
    stacked = torch.stack(outs)
    mean, variance = stacked.mean(0), stacked.var(0, unbiased=False)
    normed = (stacked - mean) / (variance + layer.norm.eps).sqrt() * layer.norm.weight + layer.norm.bias
    return [regions + part for regions, part in zip(items, normed.split([len(r) for r in items]), strict=True)]


def over_regions(regions: torch.Tensor) -> torch.Tensor:
    return regions / regions.square().sum(dim=0, keepdim=True).sqrt()


@pytest.mark.parametrize("holes", [0, 2])
def test_layers_follow_the_formula(holes):
    graph = awake()
    tokens, keep = ragged(COUNTS, 4, holes=holes)
    items = [over_regions(graph.project(tokens[item, keep[item]])) for item in range(3)]
    for layer in graph.layers:
        items = slow_layer(layer, items)
    found = graph(tokens, keep)
    for item in range(3):
        torch.testing.assert_close(found[item, keep[item]], over_regions(items[item]))
        assert found[item, ~keep[item]].abs().sum() == 0


def test_length_by_hand():
    """Two regions (3, 0) and (4, 2): the first dimension is divided by 5, the second by 2."""
    graph = RegionGraph(2, 2, 0).double()
    with torch.no_grad():
        graph.project.weight.copy_(torch.eye(2))
        graph.project.bias.zero_()
    tokens = torch.tensor([[[3.0, 0.0], [4.0, 2.0]]], dtype=torch.float64)
    expected = torch.tensor([[[0.6, 0.0], [0.8, 1.0]]], dtype=torch.float64)
    torch.testing.assert_close(graph(tokens, torch.ones(1, 2, dtype=torch.bool)), expected)


def test_each_layer_starts_as_the_identity():
    tokens, keep = ragged(COUNTS, 6)
    tokens = tokens * keep[..., None]
    torch.testing.assert_close(GraphLayer(6).double()(tokens, keep), tokens, rtol=0, atol=0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("value", [1e6, torch.inf, torch.nan])
def test_padding_changes_no_result_and_no_gradient(value, training):
    graph, twin = awake().train(training), awake().train(training)
    tokens, keep = ragged(COUNTS, 4)
    longer = graph(*spoiled(tokens, keep, value))
    torch.testing.assert_close(longer[:, :5], twin(tokens, keep))
    assert longer[:, 5:].abs().sum() == 0
    for own, other in zip(graph.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(own, other)
    check_every_parameter_learns(graph, longer.pow(3).sum())


def test_in_evaluation_an_item_is_what_it_is_alone():
    graph = awake()
    tokens, keep = ragged(COUNTS, 4)
    graph(tokens, keep)
    graph.eval()
    whole = graph(tokens, keep)
    for item, count in enumerate(COUNTS):
        alone = graph(tokens[item : item + 1, :count], keep[item : item + 1, :count])
        torch.testing.assert_close(alone[0], whole[item, :count])


def test_one_token_alone_can_train():
    """Batch norm has no spread over one number: it takes the running figures and does not move them."""
    graph = awake()
    before = [buffer.clone() for buffer in graph.buffers()]
    found = graph(torch.randn(1, 1, 4, dtype=torch.float64), torch.ones(1, 1, dtype=torch.bool))
    torch.testing.assert_close(found.abs(), torch.ones(1, 1, 6, dtype=torch.float64))
    for own, other in zip(graph.buffers(), before, strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=0)


def test_zero_regions_have_a_finite_gradient():
    graph = awake()
    tokens = torch.zeros(2, 3, 4, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        graph.project.bias.zero_()
    graph(tokens, torch.ones(2, 3, dtype=torch.bool)).sum().backward()
    assert bool(torch.isfinite(tokens.grad).all())


def test_autocast_does_not_coarsen_it():
    graph = awake().float().eval()
    tokens, keep = ragged(COUNTS, 4)
    exact = graph(tokens.float(), keep)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(graph(tokens.float(), keep), exact, rtol=0, atol=0)
        assert graph(tokens.bfloat16(), keep).dtype == torch.float32
