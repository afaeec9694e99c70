"""What the matcher refuses, and what it says then."""

from __future__ import annotations

import pytest
import torch
from cases import items_of, matcher_of

from lile.errors import InputError
from lile.matching.items import checked_items


def assert_refused(match, v, w, v_keep=None, w_keep=None):
    with pytest.raises(InputError, match=match):
        matcher_of(4, 2).scores(v, w, v_keep, w_keep)


@pytest.fixture
def items():
    return items_of(3, 2, 4, seed=0)[0], items_of(2, 5, 4, seed=1)[0]


def test_wrong_width_names_the_argument_and_its_shape(items):
    v, w = items
    assert_refused(r"texts: expected \[items, vectors, 4\], found \[2, 5, 3\]", v, w[..., :3])
    assert_refused(r"images: expected \[items, vectors, 4\], found \[3, 8\]", v.reshape(3, 8), w)


def test_wrong_types(items):
    v, w = items
    assert_refused("images: expected floating point vectors, found torch.int64", v.long(), w)
    assert_refused("images_keep: expected booleans, found torch.float32", v, w, torch.ones(3, 2))


def test_vectors_and_gates_of_different_types(items):
    v, w = items
    assert_refused("images are torch.float32, texts torch.float32, .* gates are torch.float64", v.float(), w.float())
    assert matcher_of(4, 2).scores(v.float(), w).dtype == torch.float64


def test_wrong_masks(items):
    v, w = items
    assert_refused(
        r"images_keep: expected \[3, 2\] as images has, found \[2, 2\]", v, w, torch.ones(2, 2, dtype=torch.bool)
    )
    empty = torch.tensor([[True, True], [False, False], [True, False]])
    assert_refused("images_keep: item 1 keeps no vector", v, w, empty)
    assert_refused("texts: items hold no vector at all", v, w[:, :0])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_named(items, value):
    v, w = items
    w[1, 3, 2] = value
    assert_refused("texts: item 1, vector 3, dimension 2 is", v, w)


def test_what_is_not_kept_may_be_anything(items):
    v, w = items
    keep = torch.ones(2, 5, dtype=torch.bool)
    keep[1, 3] = False
    w[1, 3] = float("nan")
    assert torch.isfinite(matcher_of(4, 2).scores(v, w, None, keep)).all()


def test_large_numbers_that_are_finite_pass():
    vectors = torch.full((2, 3, 4), 3e38)
    assert checked_items("images", vectors, None, 4).vectors is vectors


def test_a_full_mask_is_no_mask():
    vectors = torch.ones(2, 3, 4)
    assert checked_items("images", vectors, torch.ones(2, 3, dtype=torch.bool), 4).keep is None
