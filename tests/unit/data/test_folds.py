"""Folds: a partition, groups whole, balanced, and the same for the same set of images."""

from __future__ import annotations

import json
import logging

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lile.data.folds import _train_and_validation, make_folds
from lile.errors import InputError

CROSS = {"by": "cross_validation", "count": 5, "group_by": "group", "validation": 0.1, "seed": 0}
SPLIT = CROSS | {"by": "split", "count": 3}


def images_of(sizes: list[int], split: list[str] | None = None) -> pd.DataFrame:
    rows = [(f"i{g}.{n}", "x.png", f"g{g}", "") for g, size in enumerate(sizes) for n in range(size)]
    frame = pd.DataFrame(rows, columns=["image_id", "path", "group", "split"], dtype=str)
    return frame if split is None else frame.assign(split=split)


def columns_of(folds: pd.DataFrame) -> list[str]:
    return [name for name in folds.columns if name != "image_id"]


sizes = st.lists(st.integers(1, 9), min_size=12, max_size=60)


@settings(max_examples=60, deadline=None)
@given(
    sizes, st.integers(2, 6), st.sampled_from(["group", "image"]), st.sampled_from([0.05, 0.1, 0.3]), st.integers(0, 99)
)
def test_cross_validation(sizes: list[int], count: int, group_by: str, validation: float, seed: int):
    images = images_of(sizes)
    folds = make_folds(images, by="cross_validation", count=count, group_by=group_by, validation=validation, seed=seed)
    assert list(folds["image_id"]) == list(images["image_id"])
    assert columns_of(folds) == [f"fold_{n}" for n in range(count)]
    cells = folds[columns_of(folds)]
    assert set(cells.to_numpy().ravel()) == {"train", "validation", "test"}
    assert ((cells == "test").sum(axis=1) == 1).all()
    largest = max(sizes) if group_by == "group" else 1
    tests = (cells == "test").sum()
    assert tests.max() - tests.min() <= largest
    for name in cells:
        assert set(cells[name]) == {"train", "validation", "test"}
        if group_by == "group":
            assert (cells[name].groupby(images["group"]).nunique() == 1).all()
        target = validation * (cells[name] != "test").sum()
        drawn = (cells[name] == "validation").sum()
        assert abs(drawn - target) <= largest / 2 or drawn <= min(sizes) or (group_by == "group" and drawn <= largest)


@settings(max_examples=30, deadline=None)
@given(sizes, st.randoms(use_true_random=False), st.sampled_from(["group", "image"]))
def test_order_of_rows_changes_nothing(sizes: list[int], random, group_by: str):
    images = images_of(sizes)
    order = list(range(len(images)))
    random.shuffle(order)
    options = CROSS | {"group_by": group_by}
    one = make_folds(images, **options).set_index("image_id")
    two = make_folds(images.iloc[order], **options).set_index("image_id")
    pd.testing.assert_frame_equal(one, two.loc[one.index])


def test_seed_and_fold_draw_differently():
    images = images_of([1] * 200)
    one, same, other = (make_folds(images, **CROSS | {"seed": seed}) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one, same)
    assert not one.equals(other)
    drawn = [frozenset(one.loc[one[name] == "validation", "image_id"]) for name in columns_of(one)]
    assert len(set(drawn)) == 5


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=40), st.floats(0.01, 0.6), st.integers(0, 999))
def test_validation_share_is_close(sizes: list[int], share: float, seed: int):
    units = {f"g{n}": [f"{n}.{k}" for k in range(size)] for n, size in enumerate(sizes)}
    parts = _train_and_validation(units, share, seed)
    drawn = sum(part == "validation" for part in parts.values())
    assert 0 < drawn < len(parts)
    target = share * sum(sizes)
    # further off than half a unit: only where the first unit is larger than the target, or the last is kept to train
    assert abs(drawn - target) <= max(sizes) / 2 or drawn == min(sizes) or (len(set(sizes)) > 1 and len(sizes) == 2)


def test_exact_where_images_stand_alone():
    folds = make_folds(images_of([1] * 1000), **CROSS)
    for name in columns_of(folds):
        assert folds[name].value_counts().to_dict() == {"train": 720, "validation": 80, "test": 200}


def test_each_fold_is_trained_with_several_seeds_on_the_same_parts():
    images = images_of([1, 2, 3] * 10)
    once, thrice = (make_folds(images, **CROSS | {"seeds": seeds}) for seeds in (1, 3))
    assert columns_of(thrice) == [f"fold_{run}" for run in range(15)]
    for run in range(15):
        assert list(thrice[f"fold_{run}"]) == list(once[f"fold_{run % 5}"])


@pytest.mark.parametrize("group_by", ["group", "image"])
def test_near_duplicates_stay_in_one_fold_with_their_groups(group_by: str):
    images = images_of([2] * 30)
    links = pd.DataFrame([("i0.0", "i1.1"), ("i1.0", "i2.0"), ("i7.0", "i9.0")], columns=["image_a", "image_b"])
    options = CROSS | {"group_by": group_by, "near_duplicates": "together"}
    folds = make_folds(images, **options, duplicates=links)
    whole = [["i0.0", "i1.1"], ["i1.0", "i2.0"], ["i7.0", "i9.0"]]
    if group_by == "group":  # a chain of links through groups
        whole = [[f"i{n}.{k}" for n in (0, 1, 2) for k in (0, 1)], [f"i{n}.{k}" for n in (7, 9) for k in (0, 1)]]
    cells = folds.set_index("image_id")
    for name in cells:
        assert all(cells.loc[together, name].nunique() == 1 for together in whole)
    apart = make_folds(images, **CROSS | {"group_by": group_by}).set_index("image_id")
    assert any(apart.loc[together, name].nunique() > 1 for together in whole for name in apart)
    assert ((cells == "test").sum(axis=1) == 1).all()


def test_duplicates_of_unknown_images_are_refused():
    links = pd.DataFrame([("i0.0", "gone")], columns=["image_a", "image_b"])
    with pytest.raises(InputError, match="'gone'"):
        make_folds(images_of([2] * 30), **CROSS, near_duplicates="together", duplicates=links)


def test_own_split_is_kept_and_repeated():
    words = ["train"] * 6 + ["validation"] * 2 + ["test"] * 2
    folds = make_folds(images_of([1] * 10, words), **SPLIT)
    assert columns_of(folds) == ["fold_0", "fold_1", "fold_2"]
    assert all(list(folds[name]) == words for name in columns_of(folds))


def test_validation_is_drawn_from_train_where_the_split_has_none(caplog):
    images = images_of([2] * 50, ["train"] * 80 + ["test"] * 20)
    with caplog.at_level(logging.INFO):
        folds = make_folds(images, **SPLIT)
    assert "no validation rows" in caplog.text
    for name in columns_of(folds):
        assert folds[name].value_counts().to_dict() == {"train": 72, "validation": 8, "test": 20}
        assert list(folds[name][80:]) == ["test"] * 20
        assert (folds[name].groupby(images["group"]).nunique() == 1).all()
    assert not folds["fold_0"].equals(folds["fold_1"])


def test_straddling_groups_are_told_and_kept(caplog):
    words = ["train", "train", "test", "validation", "train", "test"]
    folds = make_folds(images_of([2, 2, 1, 1], words), **SPLIT)
    assert list(folds["fold_0"]) == words
    assert "parts 1 group(s) of 2 images (1 in test + validation), first 'g1'" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.parametrize(
    ("images", "options", "words"),
    [
        (images_of([1] * 9), CROSS | {"by": "crossvalidation"}, ["folds.by", "crossvalidation", "cross_validation"]),
        (images_of([1] * 9), CROSS | {"group_by": "figure"}, ["folds.group_by", "figure"]),
        (images_of([1] * 9), CROSS | {"count": 1}, ["folds.count", "1", "2 or more"]),
        (images_of([1] * 9), SPLIT | {"count": 0}, ["folds.count", "1 or more"]),
        (images_of([1] * 9), CROSS | {"seeds": 0}, ["folds.seeds", "1 or more"]),
        (images_of([1] * 9), CROSS | {"near_duplicates": "near"}, ["folds.near_duplicates", "'near'", "together"]),
        (images_of([1] * 9), SPLIT | {"seeds": 2}, ["folds.seeds", "count is the number of seeds"]),
        (images_of([1] * 9), SPLIT | {"near_duplicates": "together"}, ["moves no image", "cross_validation"]),
        (images_of([1] * 9), CROSS | {"validation": 0.0}, ["folds.validation", "0.0", "0.1 keeps a tenth"]),
        (images_of([1] * 9), CROSS | {"validation": 1.0}, ["folds.validation", "1.0"]),
        (images_of([9] * 4), CROSS, ["5 folds", "found 4", "group_by: image"]),
        (images_of([9] * 2), CROSS | {"count": 2}, ["at least 3", "found 2"]),
        (images_of([]), CROSS, ["found 0"]),
        (images_of([9, 1, 1]), CROSS | {"count": 2}, None),
        (images_of([2, 1, 1]), CROSS | {"count": 2}, ["leaves 1 group(s)"]),
        (images_of([1] * 9).drop(columns="group"), CROSS, ["group", "image_id"]),
        (pd.concat([images_of([1] * 9), images_of([1])]), CROSS, ["1 image id(s)", "'i0.0'"]),
        (images_of([1] * 9).assign(group=""), CROSS, ["9 without a group", "'i0.0'"]),
        (images_of([1] * 3), SPLIT, ["3 image(s)", "'i0.0'", "cross_validation"]),
        (images_of([1] * 3, ["train", "test", "val"]), SPLIT, ["1 image(s)", "'val'"]),
        (images_of([1] * 3, ["train", "train", "validation"]), SPLIT, ["no test rows", "3 images"]),
        (images_of([1] * 3, ["test", "test", "validation"]), SPLIT, ["no train rows"]),
        (images_of([3, 1], ["train", "train", "train", "test"]), SPLIT, ["no validation rows", "1 group(s)"]),
    ],
)
def test_mistakes_are_named(images: pd.DataFrame, options: dict, words: list[str] | None):
    if words is None:
        options = options | {"group_by": "image"}
        make_folds(images, **options)
        return
    with pytest.raises(InputError) as caught:
        make_folds(images, **options)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_hundred_thousand_images_take_seconds():
    folds = make_folds(images_of([1, 2, 3, 4] * 10_000), **CROSS)
    tests = (folds[columns_of(folds)] == "test").sum()
    assert tests.max() - tests.min() <= 1


@pytest.mark.data
def test_real_medpix(test_data, caplog):
    rows = json.loads((test_data / "medpix/captions.json").read_text("utf-8"))
    words = {"dev": "validation"}
    images = pd.DataFrame(
        [(r["image"], r["image"], r["caption"], words.get(r["split"], r["split"])) for r in rows],
        columns=["image_id", "path", "group", "split"],
    )
    folds = make_folds(images, **CROSS)
    tests = (folds[columns_of(folds)] == "test").sum()
    assert tests.tolist() == [410] * 5
    own = make_folds(images, **SPLIT)
    assert own["fold_2"].value_counts().to_dict() == {"train": 1653, "test": 200, "validation": 197}
    # 21 images carry the form's placeholder as their caption, on both sides of the publisher's split
    assert "parts 1 group(s) of 21 images (1 in train + validation), first 'Replace this" in caplog.text
