"""Word vectors: which row a word takes, and how they start."""

from __future__ import annotations

import torch

from lile.models.words import WordEmbedding


def test_each_word_takes_its_row():
    words = WordEmbedding(5, 3)
    ids = torch.tensor([[1, 4, 2], [1, 0, 0]])
    torch.testing.assert_close(words(ids), words.table.weight[ids], rtol=0, atol=0)


def test_words_start_uniformly_between_a_tenth():
    torch.manual_seed(0)
    weight = WordEmbedding(400, 300).table.weight
    assert weight.abs().max() <= 0.1
    assert weight.abs().max() > 0.0999
    torch.testing.assert_close(weight.std(), torch.tensor(0.2 / 12**0.5), rtol=0.01, atol=0)


def test_only_the_words_seen_learn():
    words = WordEmbedding(5, 3)
    words(torch.tensor([[1, 4, 2]])).square().sum().backward()
    assert (words.table.weight.grad.abs().sum(1) > 0).tolist() == [False, True, True, False, True]
