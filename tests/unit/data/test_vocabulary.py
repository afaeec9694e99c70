"""Words of captions and the vocabulary of a fold."""

from __future__ import annotations

import random

import pytest

from lile.data.vocabulary import END, MARKERS, PAD, START, UNKNOWN, Vocabulary, words_of
from lile.errors import InputError

TEXTS = ["A tumour, a cell.", "The cell: A tumour!", "a rare word"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("H&E, x2.5: Ki-67 isn't seen.", ["h", "&", "e", ",", "x2.5", ":", "ki-67", "isn't", "seen", "."]),
        ("1,000 cells (CD3+).", ["1,000", "cells", "(", "cd3", "+", ")", "."]),
        ("end.Start, -5 -- ''", ["end", ".", "start", ",", "-", "5", "-", "-", "'", "'"]),
        ("Größe µm ÉTAT", ["größe", "µm", "état"]),
        ("<unk> <end>", ["<", "unk", ">", "<", "end", ">"]),  # a caption cannot write a marker
        (" \t\n", []),
        ("", []),
    ],
)
def test_words_of(text, words):
    assert words_of(text) == words


def test_frequent_words_come_first_and_rare_ones_are_unknown():
    vocabulary = Vocabulary.from_texts(TEXTS, min_count=2)
    assert vocabulary.words == (*MARKERS, "a", "cell", "tumour")  # a 4 times, the others twice, by the alphabet
    assert vocabulary.ids_of("A rare tumour") == [START, 4, UNKNOWN, 6, END]
    assert vocabulary.ids_of("") == [START, END]
    assert (PAD, START, END, UNKNOWN) == (0, 1, 2, 3)


def test_the_order_of_the_texts_does_not_matter():
    texts = [f"w{k % 7} w{k % 5} w{k % 3}" for k in range(60)]
    shuffled = random.Random(0).sample(texts, len(texts))
    first, second = (Vocabulary.from_texts(given, 2) for given in (texts, shuffled))
    assert first == second
    assert first.digest == second.digest
    assert first.digest != Vocabulary.from_texts(TEXTS, 1).digest


@pytest.mark.parametrize("texts", [TEXTS, [], ["", " "]])
def test_too_few_words_name_the_key(texts):
    with pytest.raises(InputError, match=r"text\.min_count=9: no word .* Lower text\.min_count"):
        Vocabulary.from_texts(texts, min_count=9)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", "b", "c", "d"], "begins with <pad>"),
        ([*MARKERS, "a", "b", "a"], "'a' stands in it twice"),
    ],
)
def test_what_is_no_vocabulary_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        Vocabulary(tuple(values))
