"""VSRN's caption loss: against its equations word by word, known answers, blind to padding."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from parts_cases import check_every_parameter_learns, ragged, spoiled

from lile.data.vocabulary import END, START
from lile.models.caption_decoder import CaptionDecoder

COUNTS = [3, 1, 4]
CAPTIONS = [[START, 4, 5, END], [START, END], [START, 6, 4, 4, 5, END]]


def decoder_of(longest: int = 60) -> CaptionDecoder:
    torch.manual_seed(0)
    return CaptionDecoder(7, 4, word_width=3, hidden=5, longest=longest).double()


def words_of(captions: list[list[int]], more: int = 0, pad: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(caption) for caption in captions) + more
    words = torch.tensor([caption + [pad] * (width - len(caption)) for caption in captions])
    return words, torch.tensor([[place < len(caption) for place in range(width)] for caption in captions])


def slow_loss(decoder: CaptionDecoder, tokens: torch.Tensor, caption: list[int]) -> torch.Tensor:
    """One pair, one word after the other."""
    state = torch.tanh(decoder.start(tokens.mean(0)))
    loss = torch.zeros((), dtype=torch.float64)
    for word, following in itertools.pairwise(caption):
        logits = torch.stack([decoder.attend(torch.tanh(decoder.keys(t) + decoder.query(state)))[0] for t in tokens])
        attention = logits.exp() / logits.exp().sum()
        attended = sum(weight * token for weight, token in zip(attention, tokens, strict=True))
        state = decoder.step(torch.cat([decoder.words.table.weight[word], attended])[None], state[None])[0]
        predicted = decoder.predict(state)
        loss = loss - (predicted[following] - predicted.exp().sum().log())
    return loss


@pytest.mark.parametrize("holes", [0, 2])
def test_the_loss_follows_the_equations(holes):
    decoder = decoder_of()
    tokens, keep = ragged(COUNTS, 4, holes=holes)
    slow = [slow_loss(decoder, tokens[item, keep[item]], caption) for item, caption in enumerate(CAPTIONS)]
    found = decoder(tokens, keep, *words_of(CAPTIONS))
    torch.testing.assert_close(found, sum(slow) / 3)


def test_without_knowledge_every_word_costs_the_logarithm_of_their_number():
    """All weights zero: 3 + 1 + 5 words of 7 kinds, three captions: 9 ln 7 / 3."""
    decoder = decoder_of()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.zero_()
    tokens, keep = ragged(COUNTS, 4)
    assert float(decoder(tokens, keep, *words_of(CAPTIONS)).detach()) == pytest.approx(3 * math.log(7), rel=1e-6)


@pytest.mark.parametrize("value", [1e6, torch.inf, torch.nan])
def test_padding_changes_no_result_and_no_gradient(value):
    decoder = decoder_of()
    tokens, keep = ragged(COUNTS, 4)
    exact = decoder(tokens, keep, *words_of(CAPTIONS))
    longer = decoder(*spoiled(tokens, keep, value), *words_of(CAPTIONS, more=3, pad=5))
    torch.testing.assert_close(longer, exact)
    check_every_parameter_learns(decoder, longer)


def test_the_images_tokens_learn_from_it():
    decoder = decoder_of()
    tokens, keep = ragged(COUNTS, 4)
    tokens.requires_grad_()
    decoder(tokens, keep, *words_of(CAPTIONS)).backward()
    assert bool(torch.isfinite(tokens.grad).all())
    assert ((tokens.grad.abs().sum(2) > 0) == keep).all()


def test_the_words_of_a_caption_are_seen_only_after_they_are_predicted():
    decoder = decoder_of()
    tokens, keep = ragged([3], 4)
    words, _ = words_of([[START, 4, 5, END]])
    changed = words.clone()
    changed[0, 2] = 6
    before, after = (decoder.states(tokens, keep, given, torch.tensor([4])) for given in (words, changed))
    for place in range(4):
        assert torch.equal(after[place], before[place]) == (place < 2)


def test_a_word_that_is_left_out_is_read_but_not_predicted():
    """As a word's dropout leaves it: the loss is that of the words that stay, each after all words before it."""
    decoder = decoder_of()
    tokens, keep = ragged([3], 4)
    words, words_keep = words_of([[START, 4, 5, 6, END]])
    whole, parts = decoder(tokens, keep, words, words_keep), []
    for place in range(1, 5):
        only = words_keep & (torch.arange(5) == place)
        parts.append(decoder(tokens, keep, words, only))
    torch.testing.assert_close(sum(parts), whole)
    words_keep[0, [2, 4]] = False
    torch.testing.assert_close(decoder(tokens, keep, words, words_keep), parts[0] + parts[2])
    assert float(decoder(tokens, keep, words, words_keep & (torch.arange(5) == 0))) == 0


def test_a_long_caption_is_cut():
    tokens, keep = ragged(COUNTS, 4)
    cut = [caption[:3] for caption in CAPTIONS]
    assert float(decoder_of(longest=2)(tokens, keep, *words_of(CAPTIONS)).detach()) == pytest.approx(
        float(decoder_of()(tokens, keep, *words_of(cut)).detach()), rel=1e-6
    )


def test_it_learns_one_caption_by_heart():
    decoder = decoder_of().float()
    tokens, keep = ragged([3], 4)
    words = words_of([[START, 4, 5, 6, 4, END]])
    optimizer = torch.optim.Adam(decoder.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        loss = decoder(tokens.float(), keep, *words)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.05


def test_it_runs_under_autocast():
    decoder = decoder_of().float()
    tokens, keep = ragged(COUNTS, 4)
    exact = decoder(tokens.float(), keep, *words_of(CAPTIONS))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = decoder(tokens.float(), keep, *words_of(CAPTIONS))
    assert found.dtype == torch.float32
    assert abs(float((found - exact).detach())) < 0.05 * float(exact.detach())
