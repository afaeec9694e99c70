"""The fast scores against Eq. 1 to 7 written out, for every knob of PAPER.md section 4."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lile.matching.config import MatchingConfig
from lile.matching.direct import pair_scores_direct, scores_direct
from lile.matching.matcher import IterativeMatching
from lile.models.losses import negatives_of, triplet_loss

KNOBS = [
    {"score_operand": "refined"},
    {"direct": "mean_cosine"},
    {"direct": "none"},
    {"clip": "leaky_relu_0.1"},
    {"clip": "none"},
    {"renormalise": True},
    {"reduce": "mean"},
    {"inverse_temperature": 4.0, "alpha_init": 0.8},
    {"score_operand": "refined", "renormalise": True, "clip": "leaky_relu_0.1", "direct": "none", "reduce": "mean"},
    {},
]


def matcher_and_maps(steps, seed=0, width=6, images=5, texts=4, maps=3, **knobs):
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        matcher = IterativeMatching(width, steps, MatchingConfig(**knobs)).double()
    v = torch.randn(images, maps, width, generator=generator, dtype=torch.float64)
    w = torch.randn(texts, maps + 1, width, generator=generator, dtype=torch.float64)
    return matcher, v, w


@pytest.mark.parametrize(("knobs", "steps"), list(itertools.product(KNOBS, [1, 2, 3, 4])))
def test_scores_equal_the_direct_form(knobs, steps):
    matcher, v, w = matcher_and_maps(steps, **knobs)
    torch.testing.assert_close(matcher.scores(v, w), scores_direct(matcher, v, w), rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_float32_scores_agree_to_1e_6(steps):
    matcher, v, w = matcher_and_maps(steps, width=64, maps=8, images=9, texts=7)
    exact = scores_direct(matcher, v, w)
    rough = matcher.float().scores(v.float(), w.float())
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough.double() / (2 * steps), exact / (2 * steps), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("knobs", "steps"), list(itertools.product(KNOBS, [1, 2, 3])))
def test_gradients_of_a_loss_equal_the_direct_forms(knobs, steps):
    matcher, v, w = matcher_and_maps(steps, images=6, texts=6, **knobs)
    groups = torch.tensor([0, 0, 1, 2, 3, 4])
    negatives = negatives_of(groups, torch.arange(6), torch.arange(6))
    found = {}
    for name, form in (("fast", matcher.scores), ("direct", lambda a, b: scores_direct(matcher, a, b))):
        leaves = [v.clone().requires_grad_(), w.clone().requires_grad_()]
        loss = triplet_loss(form(*leaves), negatives, margin=5.0, negatives="sum")
        found[name] = torch.autograd.grad(loss, [*leaves, *matcher.parameters()])
    for fast, direct in zip(found["fast"], found["direct"], strict=True):
        torch.testing.assert_close(fast, direct, rtol=1e-9, atol=1e-12)


def test_hardest_negatives_have_the_same_gradients_too():
    matcher, v, w = matcher_and_maps(2, images=6, texts=6)
    negatives = ~torch.eye(6, dtype=torch.bool)
    fast, direct = (
        torch.autograd.grad(
            triplet_loss(form(v, w), negatives, margin=0.2), list(matcher.parameters()), allow_unused=False
        )
        for form in (matcher.scores, lambda a, b: scores_direct(matcher, a, b))
    )
    for a, b in zip(fast, direct, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    images=st.integers(1, 5),
    texts=st.integers(1, 5),
    maps=st.integers(1, 4),
    width=st.integers(1, 7),
    steps=st.integers(1, 4),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    spoil=st.sampled_from(["nothing", "zero_row", "all_zero", "identical"]),
    seed=st.integers(0, 2**16),
)
def test_any_shape_and_value(images, texts, maps, width, steps, scale, spoil, seed):
    matcher, v, w = matcher_and_maps(steps, seed, width, images, texts, maps)
    v = v * scale
    if spoil == "zero_row":
        v[0, 0] = 0
    elif spoil == "all_zero":
        w[-1] = 0
    elif spoil == "identical":
        v[:] = v[0, 0].clone()
    fast = matcher.scores(v, w)
    assert torch.isfinite(fast).all()
    torch.testing.assert_close(fast, scores_direct(matcher, v, w), rtol=0, atol=1e-7)


def test_all_zero_rows_have_finite_gradients():
    matcher, v, w = matcher_and_maps(2)
    v[0] = 0
    w[1, 0] = 0
    v.requires_grad_()
    matcher.scores(v, w).sum().backward()
    assert torch.isfinite(v.grad).all()


def test_order_of_items_does_not_change_a_score():
    matcher, v, w = matcher_and_maps(2, images=7, texts=5)
    rows, columns = torch.randperm(7), torch.randperm(5)
    torch.testing.assert_close(matcher.scores(v[rows], w[columns]), matcher.scores(v, w)[rows][:, columns])


def test_tiles_do_not_change_a_score(monkeypatch):
    matcher, v, w = matcher_and_maps(3, images=7, texts=5)
    whole = matcher.scores(v, w)
    monkeypatch.setattr("lile.matching.eager.TILE_FLOATS", 40)
    torch.testing.assert_close(matcher.scores(v, w), whole, rtol=0, atol=1e-13)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_scaled_scores_lie_between_minus_one_and_one(steps):
    matcher, v, w = matcher_and_maps(steps, reduce="mean")
    assert matcher.scores(v, w).abs().max() <= 1
    same = matcher.scores(v, v).diagonal()
    assert (same > matcher.scores(v, -v).diagonal()).all()


def test_one_map_without_gate_is_a_plain_cosine():
    matcher, v, w = matcher_and_maps(1, images=3, texts=3, maps=1, reduce="mean")
    w = w[:, :1]
    cosine = torch.nn.functional.cosine_similarity(v[:, 0], w[:, 0], dim=-1)
    torch.testing.assert_close(pair_scores_direct(matcher, v, w), cosine)


def test_every_parameter_learns_and_k1_has_no_gate():
    matcher, v, w = matcher_and_maps(2, images=4, texts=4)
    triplet_loss(matcher.scores(v, w), ~torch.eye(4, dtype=torch.bool), 5.0).backward()
    assert [name for name, p in matcher.named_parameters() if not p.grad.abs().sum() > 0] == []
    assert [name for name, _ in IterativeMatching(4, 1, MatchingConfig()).named_parameters()] == ["alpha_logit"]
    assert list(IterativeMatching(4, 1, MatchingConfig(direct="none")).parameters()) == []
