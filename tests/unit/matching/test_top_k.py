"""Search by shortlist against scoring everything and sorting; its agreement; the bound that proves a result."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lile.errors import InputError
from lile.matching.agreement import (
    agreement,
    agreement_of,
    places_in_direct_order,
    plot_agreement,
    shortlist_sizes,
    table,
)
from lile.matching.archive import Archive
from lile.matching.bound import cones_of, largest_mean_cosine
from lile.matching.config import MatchingConfig
from lile.matching.direct import scores_direct
from lile.matching.items import Items
from lile.matching.matcher import IterativeMatching
from lile.matching.top_k import _bound, _direct, direct_terms, top_k

KNOBS = [
    {},
    {"reduce": "mean", "clip": "leaky_relu_0.1"},
    {"direct": "mean_cosine"},
    {"queries": "image"},
    {"queries": "text", "direct": "mean_cosine"},
    {"score_operand": "refined", "renormalise": True},
    {"aggregate": "lse", "queries": "image"},
    {"similarity": "dot", "clip": "none", "alpha_init": 0.9},
]
SIDES = ["image", "text"]


def matcher_of(steps=2, width=6, seed=0, **knobs):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return IterativeMatching(width, steps, MatchingConfig(**knobs)).double()


def vectors(count, r, seed, spread=0.3, width=6):
    """Items with a direction of their own and ``r`` vectors spread about it."""
    generator = torch.Generator().manual_seed(seed)
    middle = torch.randn(count, 1, width, generator=generator, dtype=torch.float64)
    return middle + spread * torch.randn(count, r, width, generator=generator, dtype=torch.float64)


def mask(count, r, seed):
    keep = torch.rand(count, r, generator=torch.Generator().manual_seed(seed)) < 0.6
    keep[:, 0] = True
    return keep


def slow_scores(matcher, queries, archive, side, q_keep=None, a_keep=None):
    """S [Q, A] by Eq. 1 to 7 written out."""
    if side == "text":
        return scores_direct(matcher, queries, archive, q_keep, a_keep).detach()
    return scores_direct(matcher, archive, queries, a_keep, q_keep).T.detach()


def slow_order(row, k, among=None):
    """The k best of one query: sorted in Python by score, then by index."""
    places = range(len(row)) if among is None else among
    return sorted(places, key=lambda place: (-float(row[place]), place))[:k]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("knobs", KNOBS)
@pytest.mark.parametrize("steps", [1, 3])
def test_a_shortlist_is_scored_as_everything_is(knobs, side, steps):
    matcher = matcher_of(steps, **knobs)
    queries, items = vectors(3, 4, 1), vectors(12, 3, 2)
    archive = Archive.of(matcher, items, side=side)
    full, direct = slow_scores(matcher, queries, items, side), direct_terms(queries, archive)
    found = top_k(matcher, queries, archive, 2, 5)
    for row in range(3):
        expected = slow_order(full[row], 2, among=slow_order(direct[row], 5))
        assert found.indices[row].tolist() == expected
        torch.testing.assert_close(found.scores[row], full[row, expected], rtol=0, atol=1e-12)
    assert found.scored.tolist() == [5, 5, 5]
    assert found.archive == 12


@pytest.mark.parametrize("knobs", [*KNOBS, {"direct": "none"}])
@pytest.mark.parametrize("side", SIDES)
def test_a_shortlist_of_everything_is_the_full_ranking(knobs, side):
    matcher = matcher_of(**knobs)
    queries, items = vectors(3, 4, 1), vectors(7, 3, 2)
    full = slow_scores(matcher, queries, items, side)
    for shortlist in (7, 100):
        found = top_k(matcher, queries, Archive.of(matcher, items, side=side), 7, shortlist)
        assert found.indices.tolist() == [slow_order(row, 7) for row in full]
        torch.testing.assert_close(found.scores, full.sort(descending=True).values, rtol=0, atol=1e-12)
        assert bool(found.proven.all())


@settings(max_examples=60, deadline=None)
@given(
    q=st.integers(1, 4),
    a=st.integers(1, 14),
    rq=st.integers(1, 4),
    ra=st.integers(1, 4),
    steps=st.integers(1, 3),
    knobs=st.sampled_from(KNOBS),
    side=st.sampled_from(SIDES),
    ragged=st.booleans(),
    ready=st.booleans(),
    spread=st.sampled_from([0.0, 0.05, 0.5, 3.0]),
    data=st.data(),
)
def test_what_is_called_proven_is_the_full_ranking(q, a, rq, ra, steps, knobs, side, ragged, ready, spread, data):
    matcher = matcher_of(steps, **knobs)
    queries, items = vectors(q, rq, 3, spread), vectors(a, ra, 4, spread)
    if data.draw(st.booleans()):
        items[0, 0] = 0.0
        queries[-1, -1] = 0.0
    q_keep, a_keep = (mask(q, rq, 5), mask(a, ra, 6)) if ragged else (None, None)
    k = data.draw(st.integers(1, a))
    shortlist = data.draw(st.integers(k, a + 2))
    exact = data.draw(st.booleans())
    archive = Archive.of(matcher, items, a_keep, side=side, ready=ready)
    found = top_k(matcher, queries, archive, k, shortlist, keep=q_keep, exact=exact)
    full = slow_scores(matcher, queries, items, side, q_keep, a_keep)
    assert found.indices.shape == found.scores.shape == (q, k)
    torch.testing.assert_close(found.scores, full.gather(1, found.indices), rtol=0, atol=1e-9)
    best = full.sort(descending=True).values[:, :k]
    torch.testing.assert_close(found.scores[found.proven], best[found.proven], rtol=0, atol=1e-9)
    assert bool(found.proven.all()) or not (exact or shortlist >= a)
    assert int(found.scored.min()) >= min(shortlist, a)


@settings(max_examples=150, deadline=None)
@given(
    r=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    steps=st.integers(1, 3),
    knobs=st.sampled_from(KNOBS),
    side=st.sampled_from(SIDES),
    spread=st.sampled_from([0.0, 1e-6, 0.05, 0.5, 3.0]),
    sizes=st.tuples(st.sampled_from([1e-9, 1e-5, 1.0, 1e6]), st.sampled_from([1e-9, 1e-5, 1.0, 1e6])),
    spoil=st.sampled_from(["none", "zero", "opposite", "short", "same"]),
    ragged=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_no_score_exceeds_its_bound(r, steps, knobs, side, spread, sizes, spoil, ragged, seed):
    matcher = matcher_of(steps, seed=seed, **knobs)
    queries, items = vectors(3, r[0], seed, spread) * sizes[0], vectors(4, r[1], seed + 1, spread) * sizes[1]
    for some in (queries, items):
        if spoil == "zero":
            some[0, -1] = 0.0
        elif spoil == "opposite":
            some[0, -1] = -some[0, 0]
        elif spoil == "short":
            some[0, -1] *= 1e-7
    if spoil == "same" and r[0] == r[1]:
        items[:3] = queries  # cosines of one: the bound's slack is all there is
    q_keep, a_keep = (mask(3, r[0], seed), mask(4, r[1], seed + 1)) if ragged else (None, None)
    archive = Archive.of(matcher, items, a_keep, side=side)
    asked = archive.asked_by(queries, q_keep)
    with torch.no_grad():
        bound = _bound(asked, slice(0, 3), archive, _direct(asked, slice(0, 3), archive))
    assert float((bound - slow_scores(matcher, queries, items, side, q_keep, a_keep)).min()) >= 0.0


def test_the_bound_stops_early_where_an_items_vectors_lie_together():
    matcher = matcher_of()
    queries, items = vectors(5, 4, 1, spread=0.02), vectors(200, 4, 2, spread=0.02)
    found = top_k(matcher, queries, Archive.of(matcher, items, side="text"), 3, 3, exact=True)
    full = slow_scores(matcher, queries, items, "text")
    assert found.indices.tolist() == [slow_order(row, 3) for row in full]
    assert int(found.scored.max()) < 60


def test_a_shortlist_that_misses_the_best_item_is_not_called_proven():
    """Item 1 lies wide, so the bound cannot rule it out; here the direct term prefers item 0, the score item 1."""
    matcher = matcher_of(1, width=2, alpha_init=0.99, queries="image", inverse_temperature=50.0)
    query = torch.tensor([[[1.0, 0.0]]], dtype=torch.float64)
    items = torch.tensor([[[0.8, 0.6], [0.8, 0.6]], [[1.0, 0.0], [-0.6, 0.8]]], dtype=torch.float64)
    archive = Archive.of(matcher, items, side="text")
    found = top_k(matcher, query, archive, 1, 1)
    assert (found.indices.item(), found.proven.item()) == (0, False)
    found = top_k(matcher, query, archive, 1, 1, exact=True)
    assert (found.indices.item(), found.proven.item(), found.scored.item()) == (1, True, 2)


def test_a_bound_that_is_reached_is_not_overlooked():
    """Item 1 scores (cos 15 + cos 60) / 2 = 0.733, all that its cone allows; item 0 scores its direct term, 0.72."""
    matcher = matcher_of(1, width=2, queries="image", inverse_temperature=50.0)
    query = torch.tensor([[[math.cos(math.pi / 3), math.sin(math.pi / 3)]]], dtype=torch.float64)
    near = math.pi / 3 - math.acos(0.72)
    items = torch.tensor([[[math.cos(near), math.sin(near)]] * 2, [[1.0, 1.0], [1.0, -1.0]]], dtype=torch.float64)
    archive = Archive.of(matcher, items, side="text")
    found = top_k(matcher, query, archive, 1, 1)
    assert (found.indices.item(), found.proven.item()) == (0, False)
    found = top_k(matcher, query, archive, 1, 1, exact=True)
    assert found.indices.item() == 1
    assert found.scores.item() == pytest.approx((math.cos(math.pi / 12) + 0.5) / 2, abs=1e-6)


def test_items_without_a_cone_are_bounded_by_one():
    one = torch.ones(3, dtype=torch.float64)
    assert largest_mean_cosine(torch.tensor([[-1.0, 0.0, 0.9]]), one, 0 * one).tolist() == [[1.0, 1.0, 1.0]]


@given(angle=st.floats(0, math.pi), half=st.floats(0, 1.4), turn=st.floats(-1, 1))
def test_no_vector_in_the_cone_has_a_larger_cosine(angle, half, turn):
    context = torch.tensor([[[math.cos(half), math.sin(half)], [math.cos(half), -math.sin(half)]]], dtype=torch.float64)
    cones = cones_of(Items(context, None), context.mean(1))
    bound = largest_mean_cosine(cones.lengths * math.cos(angle), cones.lengths, cones.cosines)
    assert float(bound) >= math.cos(angle - turn * half) - 1e-7
    if angle > half:  # and it is reached by the nearest of them
        assert float(bound) == pytest.approx(math.cos(angle - half), abs=1e-7)


def test_zero_rows_wide_items_and_masked_vectors_have_the_cone_they_should():
    vectors = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [-1.0, 0.1]], [[2.0, 0.0], [1.0, 0.0]]])
    cosines = cones_of(Items(vectors, None), vectors.mean(1)).cosines
    assert cosines.tolist() == pytest.approx([0.0, 0.0, 1.0])
    keep = torch.tensor([[True, False], [True, True], [True, True]])
    assert cones_of(Items(vectors, keep), torch.tensor([[1.0, 0.0]] * 3)).cosines.tolist() == pytest.approx([1, 0, 1])


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("shortlist", [3, 6])
def test_of_equal_scores_the_lower_index_comes_first(exact, shortlist):
    matcher = matcher_of()
    items = vectors(1, 3, 2).expand(6, -1, -1).contiguous()
    for side in SIDES:
        found = top_k(matcher, vectors(2, 3, 1), Archive.of(matcher, items, side=side), 3, shortlist, exact=exact)
        assert found.indices.tolist() == [[0, 1, 2], [0, 1, 2]]
        assert bool((found.scores == found.scores[:, :1]).all())


def test_items_that_differ_in_their_masks_alone_are_not_the_same():
    items = vectors(1, 2, 2).expand(3, -1, -1).contiguous()
    items[:, 1] = 0.0
    keep = torch.tensor([[True, True], [True, False], [True, True]])
    assert Archive.of(matcher_of(), items, keep, side="text").first.tolist() == [0, 1, 0]


@pytest.mark.parametrize("side", SIDES)
def test_tiles_and_preparation_change_nothing(side, monkeypatch):
    matcher = matcher_of()
    queries, items, keep = vectors(5, 4, 1), vectors(20, 3, 2), mask(20, 3, 7)
    whole = top_k(matcher, queries, Archive.of(matcher, items, keep, side=side), 4, 8, exact=True)
    monkeypatch.setattr("lile.matching.top_k.TILE_PAIRS", 40)
    lean = top_k(matcher, queries, Archive.of(matcher, items, keep, side=side, ready=False), 4, 8, exact=True)
    for name in ("indices", "proven", "scored"):
        assert torch.equal(getattr(whole, name), getattr(lean, name))
    torch.testing.assert_close(whole.scores, lean.scores, rtol=0, atol=1e-12)


def test_a_search_in_float32_finds_what_float64_finds():
    matcher = matcher_of(2, width=32)
    queries, items = vectors(4, 5, 1, width=32), vectors(60, 5, 2, width=32)
    exact = top_k(matcher, queries, Archive.of(matcher, items, side="image"), 5, 60)
    rough = top_k(matcher.float(), queries, Archive.of(matcher, items.float(), side="image"), 5, 5, exact=True)
    assert rough.scores.dtype == torch.float32
    assert torch.equal(exact.indices, rough.indices)
    torch.testing.assert_close(rough.scores.double(), exact.scores, rtol=0, atol=4e-6)


# scores rank 3 0 1 2; the direct term ranks 0 2 3 1, so the full top 2, (3, 0), needs a shortlist of 3.
# scores rank 1 0 3 2; the direct term ranks 1 3 2 0, so the full top 2, (1, 0), needs a shortlist of 4.
SCORES = torch.tensor([[3.0, 2.0, 1.0, 4.0], [3.0, 4.0, 1.0, 2.0]])
DIRECT = torch.tensor([[0.9, 0.1, 0.8, 0.7], [0.1, 0.9, 0.2, 0.8]])


def test_agreement_of_a_worked_example():
    assert places_in_direct_order(torch.tensor([[3, 0], [1, 0]]), DIRECT).tolist() == [[2, 0], [0, 3]]
    rows = agreement(SCORES, DIRECT, 2, [2, 3, 4])
    assert [row.recall for row in rows] == [0.5, 0.75, 1.0]
    assert [row.same_first for row in rows] == [0.5, 1.0, 1.0]
    assert [row.same_all for row in rows] == [0.0, 0.5, 1.0]
    assert [row.share_scored for row in rows] == [0.5, 0.75, 1.0]
    assert table(rows).columns.tolist() == ["shortlist", "share_scored", "recall", "same_first", "same_all"]


@pytest.mark.parametrize("side", SIDES)
def test_agreement_is_what_searching_with_each_size_finds_and_rises_to_one(side):
    matcher = matcher_of(2, alpha_init=0.9, queries="image" if side == "text" else "both")
    queries, items = vectors(9, 4, 1, spread=2.0), vectors(25, 4, 2, spread=2.0)
    archive = Archive.of(matcher, items, side=side)
    rows = agreement_of(matcher, queries, archive, 3, [3, 5, 9, 16, 25])
    full = top_k(matcher, queries, archive, 3, 25).indices
    for row in rows:
        found = top_k(matcher, queries, archive, 3, row.shortlist).indices
        shared = [len(set(a) & set(b)) / 3 for a, b in zip(full.tolist(), found.tolist(), strict=True)]
        assert row.recall == pytest.approx(sum(shared) / 9)
        assert row.same_first == pytest.approx(float((full[:, 0] == found[:, 0]).double().mean()))
        assert row.same_all == pytest.approx(float((full == found).all(1).double().mean()))
    recalls = [row.recall for row in rows]
    assert recalls == sorted(recalls)
    assert recalls[0] < 1.0, "the data should make the shortlist work"
    assert (rows[-1].recall, rows[-1].same_first, rows[-1].same_all) == (1.0, 1.0, 1.0)


def test_sizes_of_a_curve_run_from_k_to_the_archive():
    assert shortlist_sizes(10, 1200) == [10, 20, 50, 100, 200, 500, 1000, 1200]
    assert shortlist_sizes(3, 3) == [3]


def test_the_curve_is_drawn(tmp_path):
    plot_agreement(agreement(SCORES, DIRECT, 1, [1, 2, 4]), tmp_path / "curve.png", "four items")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"]
    with pytest.raises(InputError, match="no shortlist size"):
        plot_agreement([], tmp_path / "none.png")


def test_bad_input_says_what_and_how_to_mend_it():
    matcher, queries = matcher_of(), vectors(2, 3, 1)
    archive = Archive.of(matcher, vectors(5, 3, 2), side="text")
    for k, shortlist, message in [
        (0, 3, "k=0 must be"),
        (6, 6, "k=6 is more than the archive holds, 5"),
        (3, 2, "shortlist=2 is below k=3"),
        (1, 0, "shortlist=0 must be"),
        (2.0, 3, "k=2.0 must be"),
    ]:
        with pytest.raises(InputError, match=message):
            top_k(matcher, queries, archive, k, shortlist)
    for bad, message in [
        (vectors(2, 3, 1, width=5), r"queries: expected \[items, vectors, 6\], found \[2, 3, 5\]"),
        (queries[0], r"queries: expected \[items, vectors, 6\], found \[3, 6\]"),
        (queries * math.nan, "queries: item 0, vector 0, dimension 0 is nan"),
        (queries[:0], "queries: none"),
        (queries.long(), "queries: expected floating point"),
    ]:
        with pytest.raises(InputError, match=message):
            top_k(matcher, bad, archive, 1, 2)
    with pytest.raises(InputError, match="queries_keep: expected"):
        top_k(matcher, queries, archive, 1, 2, keep=mask(2, 4, 0))
    with pytest.raises(InputError, match="made with another matcher"):
        top_k(matcher_of(), queries, archive, 1, 2)


def test_bad_archives_are_refused():
    matcher, items = matcher_of(), vectors(5, 3, 2)
    with pytest.raises(InputError, match="side='caption' is not one of image, text"):
        Archive.of(matcher, items, side="caption")
    with pytest.raises(InputError, match="archive: no item"):
        Archive.of(matcher, items[:0], side="text")
    with pytest.raises(InputError, match="archive: item 3, vector 0, dimension 0 is inf"):
        Archive.of(matcher, items.index_fill(0, torch.tensor([3]), math.inf), side="text")
    with pytest.raises(InputError, match="archive_keep: item 0 keeps no vector"):
        Archive.of(matcher, items, torch.zeros(5, 3, dtype=torch.bool), side="text")


def test_a_model_without_a_direct_term_is_told_to_score_everything():
    matcher = matcher_of(direct="none")
    archive = Archive.of(matcher, vectors(5, 3, 2), side="text")
    with pytest.raises(InputError, match=r"direct=none.*shortlist=5"):
        top_k(matcher, vectors(2, 3, 1), archive, 1, 4)
    with pytest.raises(InputError, match="direct=none"):
        direct_terms(vectors(2, 3, 1), archive)


def test_an_archive_of_a_matcher_that_was_trained_further_is_refused():
    matcher = matcher_of()
    archive = Archive.of(matcher, vectors(5, 3, 2), side="text")
    with torch.no_grad():
        next(matcher.parameters()).add_(0.1)
    with pytest.raises(InputError, match="changed after"):
        top_k(matcher, vectors(2, 3, 1), archive, 1, 2)


def test_a_curve_of_bad_input_is_refused():
    for scores, direct, k, sizes, message in [
        (SCORES, DIRECT[:, :3], 1, [1], "expected one"),
        (SCORES * math.nan, DIRECT, 1, [1], "scores: query 0, item 0 is nan"),
        (SCORES, DIRECT, 5, [5], "k=5 is more"),
        (SCORES, DIRECT, 2, [1], "sizes: 1 is not between k=2"),
        (SCORES, DIRECT, 2, [5], "sizes: 5 is not between"),
    ]:
        with pytest.raises(InputError, match=message):
            agreement(scores, direct, k, sizes)
