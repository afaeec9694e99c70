"""One BERT reads words and regions: as transformers' own does where there is no image, and blind to padding."""

from __future__ import annotations

import pytest
import torch
from tiny_bert import SHAPE
from transformers import BertConfig, BertModel

from lile.cross.model import CrossEncoder

WIDTH = 7  # of a region


@pytest.fixture
def bert() -> BertModel:
    torch.manual_seed(0)
    bert = BertModel(BertConfig(vocab_size=34, **SHAPE))
    with torch.no_grad():
        for parameter in bert.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return bert


@pytest.fixture
def pairs() -> tuple[torch.Tensor, ...]:
    """Two pairs: five words with tags and three regions; four words without tags and two regions."""
    torch.manual_seed(1)
    words = torch.tensor([[2, 6, 7, 3, 9, 3], [2, 8, 8, 3, 0, 0]])
    segments = torch.tensor([[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0]])
    keep = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    region_keep = torch.tensor([[True, True, True], [True, True, False]])
    return words, segments, keep, torch.randn(2, 3, WIDTH), region_keep


def without_image(pairs):
    words, segments, keep, regions, region_keep = pairs
    return words, segments, keep, regions[:, :0], region_keep[:, :0]


def test_without_an_image_it_is_berts_own_pooled_token_and_a_linear_layer(bert, pairs):
    model = CrossEncoder(bert, WIDTH).eval()
    words, segments, keep, _, _ = pairs
    pooled = bert(input_ids=words, attention_mask=keep.long(), token_type_ids=segments).pooler_output
    weight, bias = model.classifier.weight, model.classifier.bias
    expected = pooled @ (weight[1] - weight[0]) + bias[1] - bias[0]
    torch.testing.assert_close(model(*without_image(pairs)), expected, rtol=0, atol=1e-6)


def test_regions_are_appended_to_the_embedded_words(bert, pairs):
    """By hand, in float64 and one pair at a time: plain attention over words, tags and projected regions."""
    model = CrossEncoder(bert, WIDTH, region_norm=1e-12).eval().double()
    words, segments, keep, regions, region_keep = pairs
    expected = []
    for b in range(2):
        embedded = bert.embeddings(words[b : b + 1][:, keep[b]], segments[b : b + 1][:, keep[b]])[0]
        extra = regions[b][region_keep[b]].double() @ model.projection.weight.T + model.projection.bias
        extra = (extra - extra.mean(-1, keepdim=True)) / extra.std(-1, unbiased=False, keepdim=True)
        states = torch.cat([embedded, extra])
        for layer in bert.encoder.layer:
            states = by_hand(layer, states)
        first = torch.tanh(bert.pooler.dense(states[0]))
        logits = model.classifier(first)
        expected.append(logits[1] - logits[0])
    found = model(words, segments, keep, regions.double(), region_keep)
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1e-9)


def by_hand(layer, states):
    attention, heads = layer.attention, SHAPE["num_attention_heads"]
    parts = [getattr(attention.self, name)(states).chunk(heads, dim=1) for name in ("query", "key", "value")]
    mixed = [(q @ k.T / q.shape[1] ** 0.5).softmax(dim=1) @ v for q, k, v in zip(*parts, strict=True)]
    states = attention.output.LayerNorm(attention.output.dense(torch.cat(mixed, dim=1)) + states)
    inner = torch.nn.functional.gelu(layer.intermediate.dense(states))
    return layer.output.LayerNorm(layer.output.dense(inner) + states)


def test_padding_changes_nothing(bert, pairs):
    model = CrossEncoder(bert, WIDTH).eval()
    words, segments, keep, regions, region_keep = pairs
    pad = torch.nn.functional.pad
    padded = (
        pad(words, (0, 3), value=11), pad(segments, (0, 3)), pad(keep, (0, 3)),
        pad(regions, (0, 0, 0, 2), value=5.0), pad(region_keep, (0, 2)),
    )  # fmt: skip
    torch.testing.assert_close(model(*padded), model(*pairs), rtol=0, atol=1e-6)
    alone = [model(*(one[1:2] for one in pairs)), model(*(one[:1] for one in pairs))]
    torch.testing.assert_close(torch.cat(alone[::-1]), model(*pairs), rtol=0, atol=1e-6)


def test_every_input_has_a_say(bert, pairs):
    model = CrossEncoder(bert, WIDTH).eval()
    words, segments, keep, regions, region_keep = pairs
    before = model(*pairs)
    assert (model(words.roll(1, 0), segments, keep, regions, region_keep) != before).all()
    assert model(words, 1 - segments, keep, regions, region_keep)[0] != before[0]
    assert (model(words, segments, keep, regions.roll(1, 0), region_keep) != before).all()


@pytest.mark.parametrize(("blocks", "frozen"), [(None, 0), (2, 1), (1, 2), (0, 3)])
def test_what_does_not_train_keeps_still(bert, pairs, blocks, frozen):
    model = CrossEncoder(bert, WIDTH, trainable_blocks=blocks).train()
    model(*pairs).sum().backward()
    parts = [bert.embeddings, *bert.encoder.layer]
    for part in parts[:frozen]:
        assert all(parameter.grad is None for parameter in part.parameters())
        assert not any(module.training for module in part.modules())
    for part in [*parts[frozen:], bert.pooler, model.projection, model.classifier]:
        assert any(parameter.grad is not None and parameter.grad.any() for parameter in part.parameters())
        assert part.training
