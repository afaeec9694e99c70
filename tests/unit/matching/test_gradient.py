"""Gradients of losses over all pairs against those of the direct form, for every knob."""

from __future__ import annotations

import itertools

import pytest
import torch
from cases import KNOBS, PUBLISHED, items_of, matcher_of, shrinking_matcher_of

from lile.errors import InputError
from lile.matching.direct import scores_direct
from lile.models.losses import negatives_of, triplet_loss


def gradients(form, matcher, v, w, loss_of):
    leaves = [v.clone().requires_grad_(), w.clone().requires_grad_()]
    loss = loss_of(form(*leaves))
    return torch.autograd.grad(loss, [*leaves, *matcher.parameters()], allow_unused=True)


def assert_same_gradients(matcher, v, w, keeps, loss_of, rtol=1e-9):
    fast = gradients(lambda a, b: matcher.scores(a, b, *keeps), matcher, v, w, loss_of)
    direct = gradients(lambda a, b: scores_direct(matcher, a, b, *keeps), matcher, v, w, loss_of)
    for found, true in zip(fast, direct, strict=True):
        torch.testing.assert_close(found, true, rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("negatives", ["hardest", "sum"])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("knobs", "steps"), list(itertools.product(KNOBS, [1, 2, 3, 4])))
def test_gradients_of_a_loss_equal_the_direct_forms(knobs, steps, ragged, negatives):
    matcher = matcher_of(6, steps, **knobs)
    v, v_keep = items_of(6, 3, 6, 0, ragged)
    w, w_keep = items_of(6, 4, 6, 1, ragged)
    allowed = negatives_of(torch.tensor([0, 0, 1, 2, 3, 4]), torch.arange(6), torch.arange(6))
    assert_same_gradients(matcher, v, w, (v_keep, w_keep), lambda scores: triplet_loss(scores, allowed, 5.0, negatives))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_any_share_of_pairs_may_carry_a_gradient(share):
    matcher = matcher_of(5, 2)
    v, w = items_of(7, 3, 5, 0)[0], items_of(9, 2, 5, 1)[0]
    weight = torch.randn(7, 9, dtype=torch.float64) * (torch.rand(7, 9) < share)
    assert_same_gradients(matcher, v, w, (None, None), lambda scores: (scores * weight).sum())


def test_pieces_do_not_change_a_gradient(monkeypatch):
    matcher = matcher_of(5, 3)
    v, w = items_of(7, 3, 5, 0)[0], items_of(9, 2, 5, 1)[0]
    monkeypatch.setattr("lile.matching.gradient.CHUNK_FLOATS", 40)
    for dense in (0.0, 1.0):
        monkeypatch.setattr("lile.matching.gradient.DENSE", dense)
        assert_same_gradients(matcher, v, w, (None, None), lambda scores: scores.square().sum())


@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
@pytest.mark.parametrize("frozen", ["", "alpha_logit", "image_memory"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_frozen_parameters_stay_and_the_rest_learns(steps, frozen, kind):
    v, w = (items_of(4, 3, 6, seed)[0].to(kind) for seed in (0, 1))
    found = []
    for freeze in (False, True):
        matcher, leaf = matcher_of(6, steps).to(kind), v.clone().requires_grad_()
        for name, parameter in matcher.named_parameters():
            parameter.requires_grad_(not (freeze and name.startswith(frozen)))
        matcher.scores(leaf, w).square().sum().backward()
        assert all((p.grad is None) != p.requires_grad for p in matcher.parameters())
        found.append(leaf.grad)
    assert torch.equal(*found)


def test_a_matcher_changed_since_the_forward_pass_is_noticed():
    matcher = matcher_of(6, 2)
    scores = matcher.scores(items_of(4, 3, 6, 0)[0], items_of(4, 3, 6, 1)[0])
    with torch.no_grad():
        matcher.image_memory.gate.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        scores.sum().backward()


def test_a_second_derivative_is_refused():
    v = items_of(4, 3, 6, 0)[0].requires_grad_()
    scores = matcher_of(6, 2).scores(v, items_of(4, 3, 6, 1)[0])
    with pytest.raises(InputError, match="only first derivatives"):
        torch.autograd.grad(scores.sum(), v, create_graph=True)


def float32_gradients_off(matcher, v, w, keeps, loss_of):
    """By how much the float32 gradients differ from the direct form's in float64, each relative to its length.

    A length below 1e-3 counts as that: alpha's gradient is a difference of sums that may be nearly equal.
    """
    exact = gradients(lambda a, b: scores_direct(matcher, a, b, *keeps), matcher, v, w, loss_of)
    matcher.float()
    found = gradients(lambda a, b: matcher.scores(a, b, *keeps), matcher, v.float(), w.float(), loss_of)
    matcher.double()
    pairs = [(f, e) for f, e in zip(found, exact, strict=True) if f is not None]
    return max(float((f.double() - e).norm() / e.norm().clamp_min(1e-3)) for f, e in pairs)


@pytest.mark.parametrize("negatives", ["hardest", "sum"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_float32_gradients_agree_to_1e_5(steps, negatives):
    matcher = matcher_of(64, steps)
    v, w = items_of(8, 8, 64, 0)[0], items_of(8, 8, 64, 1)[0]
    allowed = ~torch.eye(8, dtype=torch.bool)
    off = float32_gradients_off(matcher, v, w, (None, None), lambda s: triplet_loss(s, allowed, 5.0, negatives))
    assert off <= 1e-5


@pytest.mark.parametrize("share", [0.1, 1.0])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("knobs", "steps"), list(itertools.product([*KNOBS, *PUBLISHED.values()], [1, 2])))
def test_compiled_gradients_of_every_knob(knobs, steps, ragged, share):
    matcher = matcher_of(37, steps, **knobs)
    v, v_keep = items_of(6, 5, 37, 0, ragged)
    w, w_keep = items_of(9, 19, 37, 1, ragged)
    v, w = (x / x.norm(dim=-1, keepdim=True) for x in (v, w))
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(6, 9, generator=generator, dtype=torch.float64)
    weight *= torch.rand(6, 9, generator=generator) <= share
    # items of one or two vectors: what is left of a normalised column is small, and float32 shows
    off = float32_gradients_off(matcher, v, w, (v_keep, w_keep), lambda scores: (scores * weight).sum())
    assert off <= 1e-4


@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize(("low", "high"), [(-4, 2), (-26, -22)], ids=["half", "shorter than counts"])
def test_compiled_gradients_of_gates_that_close(low, high, renormalise):
    matcher = shrinking_matcher_of(40, 2, low, high, score_operand="refined", clip="none", renormalise=renormalise)
    v, w = items_of(4, 3, 40, 0)[0], items_of(4, 5, 40, 1)[0]
    assert float32_gradients_off(matcher, v, w, (None, None), lambda scores: scores.square().sum()) <= 1e-4


@pytest.mark.parametrize("scale", [1e-5, 1e-3, 1.0])
def test_compiled_gradients_of_small_inner_products(scale):
    """At the smallest scale no column of Eq. 1 is as long as the length that counts as zero."""
    matcher = matcher_of(20, 1, similarity="dot", clip="leaky_relu_0.1", direct="none")
    v, w = items_of(4, 3, 20, 0)[0] * scale, items_of(4, 5, 20, 1)[0] * scale
    assert float32_gradients_off(matcher, v, w, (None, None), lambda scores: scores.square().sum()) <= 1e-4


def test_compiled_gradients_do_not_depend_on_threads(monkeypatch):
    matcher = matcher_of(40, 2).float()
    v, w = items_of(11, 5, 40, 0)[0].float(), items_of(7, 9, 40, 1)[0].float()
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append(gradients(matcher.scores, matcher, v, w, lambda scores: scores.square().sum()))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_all_zero_rows_have_finite_gradients():
    matcher = matcher_of(6, 2)
    v, w = items_of(5, 3, 6, 0)[0], items_of(4, 4, 6, 1)[0]
    v[0] = 0
    w[1, 0] = 0
    v.requires_grad_()
    matcher.scores(v, w).sum().backward()
    assert torch.isfinite(v.grad).all()
    rough = v.detach().float().requires_grad_()
    matcher.float().scores(rough, w.float()).sum().backward()
    torch.testing.assert_close(rough.grad.double()[1:], v.grad[1:], rtol=1e-3, atol=1e-4)
    assert torch.isfinite(rough.grad).all()


def test_alpha_keeps_digits_where_cross_and_direct_term_nearly_agree():
    """Items whose maps are nearly one: in float32 the two sums' difference would be off, or zero."""
    matcher = matcher_of(32, 2, reduce="mean")
    v, w = (items_of(8, 1, 32, seed)[0] + 1e-2 * items_of(8, 4, 32, seed + 2)[0] for seed in (0, 1))

    def loss_of(scores):
        return scores.square().sum()

    exact = gradients(lambda a, b: scores_direct(matcher, a, b), matcher, v, w, loss_of)[2]
    matcher.float()
    found = gradients(matcher.scores, matcher, v.float(), w.float(), loss_of)[2]
    assert abs(float(found) - float(exact)) <= 0.05 * abs(float(exact))
