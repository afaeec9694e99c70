"""Leaks: every held-out image with a twin in another part is found, once per kind, with its nearest twin."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lile.data.leaks import LEAK_COLUMNS, LEAK_KINDS, find_leaks
from lile.data.links import DUPLICATE_COLUMNS
from lile.errors import InputError


def folds_of(**columns: str) -> pd.DataFrame:
    """One letter per image: t(rain), v(alidation), x (test); images are named 0, 1, ..."""
    words = {"t": "train", "v": "validation", "x": "test"}
    ids = [str(n) for n in range(len(next(iter(columns.values()))))]
    return pd.DataFrame({"image_id": ids} | {name: [words[c] for c in cells] for name, cells in columns.items()})


def links_of(*rows: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(DUPLICATE_COLUMNS), dtype=str)


def leaks(folds: pd.DataFrame, *rows: tuple[str, ...]) -> list[tuple[str, ...]]:
    found = find_leaks(folds, links_of(*rows))[0]
    assert tuple(found.columns) == LEAK_COLUMNS
    return [tuple(row) for row in found.to_numpy()]


def test_one_of_each_kind():
    folds = folds_of(fold_0="txvtx")
    assert leaks(folds, ("same_pixels", "0", "1", "0", "")) == [("0", "same_pixels", "1", "0", "test-train", "0")]
    assert leaks(folds, ("near_image", "0", "1", "6", "")) == [("0", "near_image", "1", "0", "test-train", "6")]
    assert leaks(folds, ("same_text", "0", "1", "", "k")) == [("0", "same_text", "1", "0", "test-train", "")]
    assert leaks(folds, ("near_image", "0", "2", "6", ""), ("same_text", "0", "2", "", "k")) == [
        ("0", "near_image", "2", "0", "validation-train", "6"),
        ("0", "same_text", "2", "0", "validation-train", ""),
        ("0", "both", "2", "0", "validation-train", "6"),
    ]
    assert leaks(folds, ("same_pixels", "0", "3", "0", "")) == [], "both in training"


def test_equal_things_are_transitive_and_near_hashes_spread_to_their_classes():
    folds = folds_of(fold_0="vxtx")
    # 0 stands for 1 and 2: 1 is tested, 2 trains
    assert ("0", "same_pixels", "1", "2", "test-train", "0") in leaks(
        folds, ("same_pixels", "0", "1", "0", ""), ("same_pixels", "0", "2", "0", "")
    )
    # 3 has the hash of 1; 1 is near 0, and 2 has the pixels of 0
    found = leaks(
        folds, ("near_image", "1", "3", "0", ""), ("near_image", "0", "1", "8", ""), ("same_pixels", "0", "2", "0", "")
    )
    assert ("0", "near_image", "3", "2", "test-train", "8") in found


def test_two_texts_of_one_image_do_not_tie_the_others():
    folds = folds_of(fold_0="vxt")
    rows = [("same_text", "0", "1", "", "k"), ("same_text", "0", "2", "", "q")]
    assert {row[4] for row in leaks(folds, *rows)} == {"test-validation", "validation-train"}


def test_the_nearest_twin_is_named():
    folds = folds_of(fold_0="ttx")
    assert leaks(folds, ("near_image", "0", "2", "9", ""), ("near_image", "1", "2", "4", "")) == [
        ("0", "near_image", "2", "1", "test-train", "4")
    ]


def test_counts():
    folds = folds_of(fold_0="ttxx", fold_1="xxtt", fold_2="ttxx")
    rows, counts = find_leaks(folds, links_of(("near_image", "0", "2", "9", ""), ("same_text", "0", "2", "", "k")))
    once = {"images": 2, "any": 1, "same_pixels": 0, "near_image": 1, "same_text": 1, "both": 1}
    assert [counts["folds"][fold]["test-train"] for fold in ("0", "1")] == [once, once]
    assert counts["folds"]["0"]["validation-train"]["images"] == 0
    assert counts["repeats"] == {"2": "0"}, "another seed on the same parts"
    assert counts["test"] == {key: 2 * value for key, value in once.items()}
    assert len(rows) == 6


def test_a_duplicate_in_no_fold_is_refused():
    with pytest.raises(InputError, match="'z'"):
        find_leaks(folds_of(fold_0="tx"), links_of(("same_pixels", "0", "z", "0", "")))


# Slow twin: the full relation between all images, then every pair across two parts.

classes = st.lists(st.integers(0, 4), min_size=8, max_size=8)


@settings(max_examples=150, deadline=None)
@given(
    classes,
    classes,
    st.lists(st.sets(st.integers(0, 5), max_size=2), min_size=8, max_size=8),
    st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=4),
    st.text("tvx", min_size=8, max_size=8),
)
def test_all_pairs_say_the_same(looks, pictures, texts, near, roles):
    look = dict(enumerate(looks))
    picture = {image: (looks[image], pictures[image] % 2) for image in range(8)}  # same pixels, same hash
    bits = {frozenset(pair): 2 * (1 + sum(pair)) for pair in near if len(set(pair)) == 2}
    rows = _links(look, picture, texts, bits)
    expected = set()
    for held, other in (("x", "t"), ("x", "v"), ("v", "t")):
        for a in range(8):
            kinds = set()
            for b in range(8):
                if roles[a] == held and roles[b] == other:
                    same, close = picture[a] == picture[b], look[a] == look[b] or frozenset((look[a], look[b])) in bits
                    shared = bool(texts[a] & texts[b])
                    kinds |= {"same_pixels"} if same else {"near_image"} if close else set()
                    kinds |= {"same_text"} if shared else set()
                    kinds |= {"both"} if shared and close else set()
            expected |= {(kind, str(a), held + other) for kind in kinds}
    found = leaks(folds_of(fold_0=roles), *rows)
    short = {"train": "t", "validation": "v", "test": "x"}
    assert {(row[1], row[2], "".join(short[word] for word in row[4].split("-"))) for row in found} == expected
    assert len(found) == len(expected)
    assert all(row[1] in LEAK_KINDS for row in found)


def _links(look, picture, texts, bits):
    first_picture, first_look, first_text, rows = {}, {}, {}, []
    for image in range(8):
        if first_picture.setdefault(picture[image], image) != image:
            rows.append(("same_pixels", str(first_picture[picture[image]]), str(image), "0", ""))
        elif first_look.setdefault(look[image], image) != image:
            rows.append(("near_image", str(first_look[look[image]]), str(image), "0", ""))
        for text in texts[image]:
            if first_text.setdefault(text, image) != image:
                rows.append(("same_text", str(first_text[text]), str(image), "", str(text)))
    for pair, distance in bits.items():
        if pair <= first_look.keys():
            one, other = sorted(first_look[key] for key in pair)
            rows.append(("near_image", str(one), str(other), str(distance), ""))
    return rows
