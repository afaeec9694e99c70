"""Eq. 8 against loops, and what may never be a negative."""

from __future__ import annotations

import pytest
import torch

from lile.models.losses import negatives_of, triplet_loss


def slow_loss(scores, negatives, margin, mode):
    """Eq. 8, one anchor after the other."""
    size, total = len(scores), 0.0
    for i in range(size):
        texts = [max(0.0, margin - scores[i][i] + scores[i][j]) for j in range(size) if negatives[i][j]]
        images = [max(0.0, margin - scores[i][i] + scores[j][i]) for j in range(size) if negatives[j][i]]
        for hinges in (texts, images):
            if hinges:
                total += {"hardest": max(hinges), "sum": sum(hinges), "mean": sum(hinges) / len(hinges)}[mode]
    return total / size


@pytest.mark.parametrize("mode", ["hardest", "sum", "mean"])
def test_loss_equals_the_loop(mode):
    generator = torch.Generator().manual_seed(1)
    for size in (2, 3, 8):
        scores = torch.randn(size, size, generator=generator, dtype=torch.float64)
        groups = torch.randint(0, size, (size,), generator=generator)
        negatives = negatives_of(groups, torch.arange(size), torch.arange(size))
        found = triplet_loss(scores, negatives, 0.7, mode)
        assert found.item() == pytest.approx(slow_loss(scores.tolist(), negatives.tolist(), 0.7, mode))


def test_same_image_group_or_text_is_never_a_negative():
    groups, images, texts = torch.tensor([5, 5, 6, 7]), torch.tensor([0, 1, 2, 2]), torch.tensor([8, 9, 10, 8])
    negatives = negatives_of(groups, images, texts)
    assert not negatives[0, 1]  # one group
    assert not negatives[2, 3]  # one image
    assert not negatives[0, 3]  # the same words in two groups
    assert negatives[0, 2]
    assert not negatives.diagonal().any()
    scores = torch.zeros(4, 4)
    scores[0, 1] = scores[3, 2] = 100.0  # would dominate the loss if it counted
    assert triplet_loss(scores, negatives, 0.2).item() == pytest.approx(0.4)


def test_a_perfect_batch_costs_nothing_and_a_batch_without_negatives_neither():
    scores = torch.eye(3)
    assert triplet_loss(scores, ~torch.eye(3, dtype=torch.bool), 0.2).item() == 0.0
    assert triplet_loss(torch.zeros(2, 2), torch.zeros(2, 2, dtype=torch.bool), 0.2).item() == 0.0
