"""The engine's scores against Eq. 1 to 7 written out: every knob, K = 1 to 4, ragged and fixed, in float64."""

from __future__ import annotations

import itertools

import pytest
import torch
from cases import KNOBS, PUBLISHED, items_of, matcher_of
from hypothesis import given, settings
from hypothesis import strategies as st

from lile.errors import InputError
from lile.matching.config import MatchingConfig
from lile.matching.direct import pair_scores_direct, scores_direct
from lile.matching.matcher import IterativeMatching
from lile.models.losses import triplet_loss


def case(steps, seed=0, width=6, images=5, texts=4, maps=3, ragged=False, **knobs):
    v, v_keep = items_of(images, maps, width, seed, ragged)
    w, w_keep = items_of(texts, maps + 1, width, seed + 1, ragged)
    return matcher_of(width, steps, seed, **knobs), v, w, v_keep, w_keep


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("knobs", "steps"), list(itertools.product(KNOBS, [1, 2, 3, 4])))
def test_scores_equal_the_direct_form(knobs, steps, ragged):
    matcher, *items = case(steps, ragged=ragged, **knobs)
    torch.testing.assert_close(matcher.scores(*items), scores_direct(matcher, *items), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_models_are_settings_of_it(name):
    matcher, *items = case(3 if "IMRAM" in name else 1, ragged=True, **PUBLISHED[name])
    torch.testing.assert_close(matcher.scores(*items), scores_direct(matcher, *items), rtol=0, atol=1e-12)


def test_scan_by_hand():
    """One word (1, 0) against regions (1, 0) and (0, 1): SCAN's equations with lambda 9, worked out."""
    matcher = matcher_of(2, 1, **PUBLISHED["SCAN t-i LSE"])
    regions = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)
    word = torch.tensor([[[1.0, 0.0]]], dtype=torch.float64)
    first = torch.tensor(9.0, dtype=torch.float64).exp() / (torch.tensor(9.0, dtype=torch.float64).exp() + 1)
    cosine = first / (first**2 + (1 - first) ** 2).sqrt()  # LogSumExp of one number is that number
    torch.testing.assert_close(matcher.scores(regions, word), cosine.reshape(1, 1))


def test_vectors_that_are_not_kept_do_not_matter():
    matcher, v, w, v_keep, w_keep = case(3, ragged=True)
    before = matcher.scores(v, w, v_keep, w_keep)
    v[~v_keep] = 1e6
    w[~w_keep] = -1e6
    torch.testing.assert_close(matcher.scores(v, w, v_keep, w_keep), before, rtol=0, atol=0)


def test_a_ragged_item_scores_as_its_vectors_alone():
    matcher, v, w, v_keep, w_keep = case(2, ragged=True)
    whole = matcher.scores(v, w, v_keep, w_keep)
    for i, j in itertools.product(range(len(v)), range(len(w))):
        alone = matcher.scores(v[i : i + 1, v_keep[i]], w[j : j + 1, w_keep[j]])
        torch.testing.assert_close(alone[0, 0], whole[i, j], rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    images=st.integers(1, 5),
    texts=st.integers(1, 5),
    maps=st.integers(1, 4),
    width=st.integers(1, 7),
    steps=st.integers(1, 4),
    scale=st.sampled_from([1e-6, 1e-3, 1.0, 1e3, 1e6]),
    spoil=st.sampled_from(["nothing", "zero_row", "all_zero", "identical", "opposite"]),
    ragged=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_any_shape_and_value(images, texts, maps, width, steps, scale, spoil, ragged, seed):
    matcher, v, w, *keeps = case(steps, seed, width, images, texts, maps, ragged)
    v = v * scale
    spoiled(v, w, spoil)
    fast = matcher.scores(v, w, *keeps)
    assert torch.isfinite(fast).all()
    # where attended vectors cancel to (nearly) nothing their direction is rounding, in both forms
    torch.testing.assert_close(fast, scores_direct(matcher, v, w, *keeps), rtol=0, atol=1e-7)


def spoiled(v, w, how):
    """Put an extreme value into the items, in place."""
    if how == "zero_row":
        v[0, 0] = 0
    elif how == "all_zero":
        w[-1] = 0
    elif how == "identical":
        v[:] = v[0, 0].clone()
    elif how == "opposite":
        w[:, 1] = -w[:, 0] * 0.5


def test_order_of_items_does_not_change_a_score():
    matcher, v, w, *_ = case(2, images=7, texts=5)
    rows, columns = torch.randperm(7), torch.randperm(5)
    torch.testing.assert_close(matcher.scores(v[rows], w[columns]), matcher.scores(v, w)[rows][:, columns])


def test_tiles_do_not_change_a_score(monkeypatch):
    matcher, v, w, *_ = case(3, images=7, texts=5)
    whole = matcher.scores(v, w)
    monkeypatch.setattr("lile.matching.eager.TILE_FLOATS", 40)
    torch.testing.assert_close(matcher.scores(v, w), whole, rtol=0, atol=1e-13)


def test_no_items_give_no_scores():
    matcher, v, w, *_ = case(2)
    assert matcher.scores(v[:0], w).shape == (0, 4)
    assert matcher.scores(v, w[:0]).shape == (5, 0)
    assert matcher.float().scores(v[:0].float(), w.float()).shape == (0, 4)


@pytest.mark.parametrize("queries", ["both", "image", "text"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_scaled_scores_lie_between_minus_one_and_one(steps, queries):
    matcher, v, w, *_ = case(steps, reduce="mean", queries=queries)
    assert matcher.scores(v, w).abs().max() <= 1
    same = matcher.scores(v, v).diagonal()
    assert (same > matcher.scores(v, -v).diagonal()).all()


def test_one_map_without_gate_is_a_plain_cosine():
    matcher, v, w, *_ = case(1, images=3, texts=3, maps=1, reduce="mean")
    w = w[:, :1]
    cosine = torch.nn.functional.cosine_similarity(v[:, 0], w[:, 0], dim=-1)
    torch.testing.assert_close(pair_scores_direct(matcher, v, w), cosine)


def test_every_parameter_learns_and_only_needed_gates_are_there():
    matcher, v, w, *_ = case(2, images=4, texts=4)
    triplet_loss(matcher.scores(v, w), ~torch.eye(4, dtype=torch.bool), 5.0).backward()
    assert [name for name, p in matcher.named_parameters() if not p.grad.abs().sum() > 0] == []
    assert [name for name, _ in IterativeMatching(4, 1, MatchingConfig()).named_parameters()] == ["alpha_logit"]
    assert list(IterativeMatching(4, 1, MatchingConfig(direct="none")).parameters()) == []
    one_sided = IterativeMatching(4, 2, MatchingConfig(direct="none", queries="text"))
    assert {name.split(".")[0] for name, _ in one_sided.named_parameters()} == {"text_memory"}


@pytest.mark.parametrize(("width", "steps", "named"), [(4, 0, "steps=0"), (0, 2, "width=0"), (4, -1, "steps=-1")])
def test_no_steps_or_width_is_refused(width, steps, named):
    with pytest.raises(InputError, match=named):
        IterativeMatching(width, steps, MatchingConfig())
