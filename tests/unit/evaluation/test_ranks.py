"""Ranks against a twin that really writes down the least favourable order, on matrices full of ties."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from full_matrix import first_hit_ranks, full_ranks
from hypothesis import given, settings
from hypothesis import strategies as st

from lile.errors import InputError
from lile.evaluation import grid, ranks
from lile.evaluation.ranks import fold_ranks
from lile.evaluation.relevance import relevance_of, relevant_counts


def slow_rank(scores: list[float], relevant: list[bool]) -> int:
    """Sort by falling score, among equals what is not relevant first; the place of the first relevant item."""
    order = sorted(range(len(scores)), key=lambda item: (-scores[item], relevant[item]))
    return next(place for place, item in enumerate(order) if relevant[item])


def slow_fold_ranks(scores_NU, image_ids, text_ids, groups, descriptions):
    """Every list written out in plain loops, item by item."""
    group_of = dict(zip(image_ids, groups, strict=True))
    rows = descriptions.to_dict("records")

    def score(image, row):
        return float(scores_NU[list(image_ids).index(image), list(text_ids).index(row["text_id"])])

    def related(image, row, protocol):
        if protocol == "own":
            return row["image_id"] == image
        return group_of[row["image_id"]] == group_of[image]

    found = {}
    for name in ("own", "group"):
        i2t = [slow_rank([score(i, r) for r in rows], [related(i, r, name) for r in rows]) for i in image_ids]
        t2i = [slow_rank([score(i, r) for i in image_ids], [related(i, r, name) for i in image_ids]) for r in rows]
        found[name] = {"i2t": i2t, "t2i": t2i}
    return found


@st.composite
def folds(draw):
    """Small folds: shared texts, shared groups, few distinct scores."""
    images = draw(st.integers(1, 6))
    texts = draw(st.integers(1, 5))
    image_ids = [f"image{number}" for number in range(images)]
    groups = [f"group{draw(st.integers(0, 2))}" for _ in image_ids]
    owners = image_ids + [draw(st.sampled_from(image_ids)) for _ in range(draw(st.integers(0, 6)))]
    words = [f"text{draw(st.integers(0, texts - 1))}" for _ in owners]
    descriptions = pd.DataFrame({"image_id": owners, "text_id": words})
    values = draw(st.lists(st.integers(-1, 2), min_size=images * texts, max_size=images * texts))
    scores = np.array(values, dtype=np.float32).reshape(images, texts)
    return scores, image_ids, [f"text{number}" for number in range(texts)], groups, descriptions


def lists(found):
    return {name: {way: array.tolist() for way, array in ways.items()} for name, ways in found.items()}


@given(folds(), st.sampled_from([1, 2, 3, 1024]), st.sampled_from([1, 5, 1 << 22]))
@settings(max_examples=200, deadline=None)
def test_fold_ranks_equal_the_slow_twins_whatever_the_block_and_piece(fold, size, pairs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "BLOCK", size)
        patch.setattr(ranks, "PIECE_PAIRS", pairs)
        fast, own = fold_ranks(*fold), fold_ranks(*fold, protocols=("own",))
    assert lists(fast) == lists(full_ranks(*fold)) == slow_fold_ranks(*fold)
    assert lists(own) == {"own": lists(fast)["own"]}
    assert all(array.dtype == np.int64 for ways in fast.values() for array in ways.values())


@pytest.mark.parametrize("size", [64, 100, 1024])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_streamed_ranks_equal_those_of_the_full_matrix(monkeypatch, size, kind):
    random = np.random.default_rng(size)
    images, texts, owners = 300, 517, np.r_[np.arange(300), np.random.default_rng(1).integers(0, 300, 600)]
    image_ids, text_ids = [f"i{n}" for n in range(images)], [f"t{n}" for n in range(texts)]
    words = random.integers(0, texts - 17, len(owners))  # some texts stand under no image
    descriptions = pd.DataFrame({"image_id": [f"i{n}" for n in owners], "text_id": [f"t{n}" for n in words]})
    groups = [f"g{n}" for n in random.integers(0, 40, images)]
    scores = random.normal(size=(images, texts)).round(2).astype(kind)  # ties, and values no float32 can hold
    monkeypatch.setattr(grid, "BLOCK", size)
    monkeypatch.setattr(ranks, "PIECE_PAIRS", 10_000)
    fold = (scores, image_ids, text_ids, groups, descriptions)
    assert lists(fold_ranks(*fold)) == lists(full_ranks(*fold))


@given(folds())
@settings(max_examples=50, deadline=None)
def test_a_group_never_ranks_worse_than_the_own_item(fold):
    found = fold_ranks(*fold)
    assert all((found["group"][way] <= found["own"][way]).all() for way in ("i2t", "t2i"))


@given(st.integers(1, 5), st.integers(1, 12), st.data())
@settings(max_examples=150, deadline=None)
def test_first_hit_ranks_equal_the_slow_twin(queries, gallery, data):
    cells = queries * gallery
    scores = np.array(data.draw(st.lists(st.integers(0, 3), min_size=cells, max_size=cells)), dtype=np.float64)
    relevant = np.array(data.draw(st.lists(st.booleans(), min_size=cells, max_size=cells))).reshape(queries, gallery)
    relevant[np.arange(queries), data.draw(st.integers(0, gallery - 1))] = True
    scores = scores.reshape(queries, gallery)
    expected = [slow_rank(list(row), list(flags)) for row, flags in zip(scores, relevant, strict=True)]
    assert first_hit_ranks(scores, relevant).tolist() == expected


def test_ties_count_against_the_query_but_never_among_relevant_items():
    scores = np.array([[1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0]])
    relevant = np.array([[True, False, False, False], [True, True, True, False]])
    assert first_hit_ranks(scores, relevant).tolist() == [2, 0]


def test_a_repeated_text_ties_exactly_with_its_twin():
    descriptions = pd.DataFrame({"image_id": ["a", "b", "c"], "text_id": ["same", "same", "other"]})
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.3]], dtype=np.float32)
    found = fold_ranks(scores, ["a", "b", "c"], ["same", "other"], ["one", "one", "two"], descriptions)
    assert found["own"]["i2t"].tolist() == [1, 1, 0]  # the twin of the other image stands before it
    assert found["group"]["i2t"].tolist() == [0, 0, 0]  # unless the two images are one group
    assert found["own"]["t2i"].tolist() == [1, 1, 0]


def test_half_precision_and_float32_scores_are_compared_as_they_are():
    descriptions = pd.DataFrame({"image_id": ["a", "b", "b"], "text_id": ["x", "y", "z"]})
    for kind, step in ((np.float16, 2**-10), (np.float32, 2**-23), (np.float64, 2**-52)):
        scores = np.array([[1.0, 1.0 + step, 0.5], [0.0, 1.0, 1.0]], dtype=kind)
        assert fold_ranks(scores, ["a", "b"], ["x", "y", "z"], ["a", "b"], descriptions)["own"]["i2t"].tolist() == [
            1,
            0,
        ]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_names_its_pair(bad, monkeypatch):
    monkeypatch.setattr(grid, "BLOCK", 1)
    scores = np.zeros((3, 2), dtype=np.float32)
    scores[2, 1] = bad
    descriptions = pd.DataFrame({"image_id": ["a", "b", "c"], "text_id": ["x", "x", "y"]})
    with pytest.raises(InputError, match="image 'c' and text 'y'"):
        fold_ranks(scores, ["a", "b", "c"], ["x", "y"], ["a", "b", "c"], descriptions)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_ids": ["a", "a"]}, "'a' is there twice"),
        ({"text_ids": ["x", "x"]}, "'x' is there twice"),
        ({"image_groups": ["g"]}, "2 images and 1 groups"),
        ({"image_groups": ["g", ""]}, "empty group"),
        ({"descriptions": pd.DataFrame({"image_id": ["a"], "text_id": ["x"]})}, "no description, first: b"),
        ({"descriptions": pd.DataFrame({"image_id": ["a", "z"], "text_id": ["x", "y"]})}, "not scored, first: 'z'"),
        ({"descriptions": pd.DataFrame({"image_id": ["a", "b"], "text_id": ["x", "q"]})}, "not scored, first: 'q'"),
        ({"descriptions": pd.DataFrame({"image_id": ["a", "b"]})}, "lack the column text_id"),
        ({"scores": np.zeros((2, 3))}, "shape"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change, message):
    given_inputs = {
        "scores": np.zeros((2, 2)),
        "image_ids": ["a", "b"],
        "text_ids": ["x", "y"],
        "image_groups": ["g", "h"],
        "descriptions": pd.DataFrame({"image_id": ["a", "b"], "text_id": ["x", "y"]}),
    }
    with pytest.raises(InputError, match=message):
        fold_ranks(**{**given_inputs, **change})


def test_relevant_counts_follow_both_protocols():
    descriptions = pd.DataFrame({"image_id": ["a", "b", "b", "c"], "text_id": ["x", "y", "z", "x"]})
    relevance = relevance_of(["a", "b", "c"], ["x", "y", "z"], ["g", "g", "h"], descriptions)
    counts = relevant_counts(relevance)
    assert counts["own"]["i2t"].tolist() == [1, 2, 1]
    assert counts["own"]["t2i"].tolist() == [1, 1, 1, 1]
    assert counts["group"]["i2t"].tolist() == [3, 3, 1]
    assert counts["group"]["t2i"].tolist() == [2, 2, 2, 1]
