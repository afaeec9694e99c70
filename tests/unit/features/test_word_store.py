"""Captions as word numbers, read like a token store."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from lile.data.vocabulary import Vocabulary
from lile.errors import InputError
from lile.features.word_store import WordStore

TEXTS = ["a cell", "", "a tumour of a rare cell", "cell"]
IDS = ["t0", "t1", "t2", "t3"]


@pytest.fixture
def store():
    return WordStore(IDS, TEXTS, Vocabulary.from_texts(TEXTS, 1))


def test_captions_come_in_the_order_asked_padded_with_zeros(store):
    rows = store.rows_of(["t2", "t1", "t2", "t3"])
    words, keep = store.read(rows)
    assert words.dtype == np.int64
    assert keep.dtype == bool
    assert words.shape == keep.shape == (4, 8)
    for place, row in enumerate(rows):
        own = store.vocabulary.ids_of(TEXTS[row])
        assert words[place].tolist() == own + [0] * (8 - len(own))
        assert keep[place].tolist() == [True] * len(own) + [False] * (8 - len(own))
    assert store.lengths(rows).tolist() == [8, 2, 8, 3]
    assert len(store) == 4
    assert store.ids == IDS


def test_no_rows_are_no_captions(store):
    words, keep = store.read(np.asarray([], dtype=np.int64))
    assert words.shape == keep.shape == (0, 0)


def test_a_store_can_be_pickled(store):
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again.read(np.arange(4))[0], store.read(np.arange(4))[0])


def test_what_is_not_there_is_told(store):
    with pytest.raises(InputError, match=r"no text for 'x' \(1 of 2"):
        store.rows_of(["t0", "x"])
    with pytest.raises(IndexError, match="a store of 4 items"):
        store.read(np.asarray([4]))
    with pytest.raises(IndexError, match="rows -1"):
        store.lengths(np.asarray([-1]))


def test_ids_that_do_not_fit_are_refused(store):
    with pytest.raises(InputError, match="3 ids, 4 texts"):
        WordStore(IDS[:3], TEXTS, store.vocabulary)
    with pytest.raises(InputError, match="'t0' comes twice"):
        WordStore(["t0", "t1", "t0"], TEXTS[:3], store.vocabulary)
