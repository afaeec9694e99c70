"""PVSE's two terms: numbers worked out by hand, a slow twin, gradients where distances are zero."""

from __future__ import annotations

import math

import pytest
import torch

from lile.models.penalties import discrepancy, diversity


def test_diversity_by_hand():
    """Cosines 0 and 1 of two items with two maps: norms 0 and sqrt(2), over m^2 = 4, mean sqrt(2) / 8."""
    residuals = torch.tensor([[[1.0, 0.0], [0.0, 3.0]], [[2.0, 2.0], [5.0, 5.0]]], dtype=torch.float64)
    torch.testing.assert_close(diversity(residuals), torch.tensor(math.sqrt(2) / 8, dtype=torch.float64))


def test_diversity_follows_the_formula():
    residuals = torch.rand(3, 4, 5, dtype=torch.float64)
    norms = []
    for item in residuals:
        square = sum(
            float(torch.cosine_similarity(item[i], item[j], dim=0)) ** 2 for i in range(4) for j in range(4) if i != j
        )
        norms.append(math.sqrt(square) / 16)
    assert float(diversity(residuals)) == pytest.approx(sum(norms) / 3, abs=1e-12)


@pytest.mark.parametrize("maps", [1, 3])
@pytest.mark.parametrize("kind", ["zero", "orthogonal", "equal"])
def test_the_gradient_of_diversity_is_finite(maps, kind):
    residuals = {
        "zero": torch.zeros(2, 3, 4),
        "orthogonal": torch.eye(3, 4).repeat(2, 1, 1),
        "equal": torch.ones(2, 3, 4),
    }
    given = residuals[kind][:, :maps].clone().requires_grad_()
    value = diversity(given)
    value.backward()
    assert value.dtype == torch.float32
    assert bool(torch.isfinite(given.grad).all())
    assert float(value.detach()) == (0 if maps == 1 or kind != "equal" else pytest.approx(math.sqrt(6) / 9))


def test_discrepancy_by_hand():
    """x at 0 and 4, y at 3: mean k(x, x) = (1 + e^-2) / 2, mean k(x, y) = (e^-1.5 + e^-.5) / 2, k(y, y) = 1."""
    x, y = torch.tensor([[0.0], [4.0]], dtype=torch.float64), torch.tensor([[3.0]], dtype=torch.float64)
    expected = (1 + math.exp(-2)) / 2 - (math.exp(-1.5) + math.exp(-0.5)) + 1
    assert float(discrepancy(x, y)) == pytest.approx(expected, abs=1e-6)
    assert float(discrepancy(x, y, gamma=0.25)) == pytest.approx(
        (1 + math.exp(-1)) / 2 - (math.exp(-0.75) + math.exp(-0.25)) + 1, abs=1e-6
    )


def test_discrepancy_follows_the_formula_and_its_gradient():
    x, y = (torch.randn(count, 6, dtype=torch.float64, requires_grad=True) for count in (5, 3))

    def mean_kernel(a, b):
        return torch.stack([(-0.5 * (one - other).norm()).exp() for one in a for other in b]).mean()

    slow = mean_kernel(x, x) - 2 * mean_kernel(x, y) + mean_kernel(y, y)
    fast = discrepancy(x, y)
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-6)
    for given, expected in zip(torch.autograd.grad(fast, (x, y)), torch.autograd.grad(slow, (x, y)), strict=True):
        torch.testing.assert_close(given, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("scale", [0.0, 1e-9, 1.0, 1e3])
def test_equal_vectors_have_no_discrepancy_and_a_finite_gradient(scale):
    x = (scale * torch.randn(4, 6)).repeat(2, 1).requires_grad_()
    value = discrepancy(x, x.detach().clone())
    value.backward()
    assert float(value.detach()) == pytest.approx(0, abs=1e-6)
    assert bool(torch.isfinite(x.grad).all())
    assert x.grad.abs().max() < 1e-5


def test_other_clouds_have_more_discrepancy():
    torch.manual_seed(0)
    x = torch.randn(40, 8)
    near, far = (float(discrepancy(x, torch.randn(40, 8) + shift)) for shift in (0.0, 2.0))
    assert 0 <= near < 0.05 < far


def test_autocast_does_not_coarsen_them():
    x, y = torch.randn(6, 8), torch.randn(6, 8)
    exact = discrepancy(x, y), diversity(x[None])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (discrepancy(x, y), diversity(x[None])) == exact


def test_memory_does_not_hold_all_differences():
    """[n, n, d] in float64 would be 8 * 256 * 256 * 512 bytes = 268 MB; the largest tensor kept is [n, n]."""
    x = torch.randn(256, 512, requires_grad=True)
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda kept: sizes.append(kept.numel()) or kept, lambda kept: kept):
        discrepancy(x, x.flip(0)).backward()
    assert max(sizes) <= 256 * 512
