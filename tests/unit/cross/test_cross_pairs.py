"""A wrong pair is wrong: never of the same image or group, never a text that is equal to one of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lile.cross.config import NegativesConfig
from lile.cross.pairs import epoch_steps, pair_table, steps_of
from lile.errors import InputError


def descriptions(rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image_id", "group", "text_id"])


@pytest.fixture
def many() -> pd.DataFrame:
    """40 images in groups of two with three texts each; text `common` is under every fourth image."""
    rows = [(f"i{n}", f"g{n // 2}", f"t{n}.{k}") for n in range(40) for k in range(2)]
    return descriptions(rows + [(f"i{n}", f"g{n // 2}", "common" if n % 4 == 0 else f"t{n}.2") for n in range(40)])


def no_scores(images, texts):
    raise AssertionError("no shortlist was asked for")


def by_number(images, texts) -> np.ndarray:
    """The nearer the numbers of image and text, the better the score: the best wrong ones are known."""
    number = [int(name[1:]) for name in images], [float(t[1:]) if t != "common" else 0.0 for t in texts]
    return -np.abs(np.array(number[0])[:, None] - np.array(number[1])[None, :])


def wrong(table, step, own: pd.DataFrame) -> list[tuple[str, str]]:
    return [
        (table.image_ids[i], table.text_ids[t])
        for i, t, label in zip(step.images, step.texts, step.labels, strict=True)
        if label == 0
    ]


@pytest.mark.parametrize("hard", [0.0, 0.5, 1.0])
def test_no_wrong_pair_is_right(many, hard):
    table = pair_table(many, [f"i{n}" for n in range(40)])
    group = dict(zip(many["image_id"], many["group"], strict=True))
    groups_of_text = many.groupby("text_id")["group"].agg(set)
    settings = NegativesConfig(per_positive=3, hard=hard, pool=32)
    seen = 0
    for epoch in range(4):
        for step in epoch_steps(table, settings, 5, 8, epoch, by_number if hard else no_scores):
            pairs = wrong(table, step, many)
            assert all(group[image] not in groups_of_text[text] for image, text in pairs)
            seen += len(pairs)
    assert seen == 4 * 120 * 3


def test_an_epoch_has_every_right_pair_once_with_its_own_wrong_ones(many):
    table = pair_table(many, [f"i{n}" for n in range(40)])
    settings = NegativesConfig(per_positive=2, hard=0.5, pool=50)
    steps = list(epoch_steps(table, settings, 5, 8, 1, by_number))
    assert len(steps) == steps_of(len(table), settings, 8) == 15
    right = [
        (table.image_ids[i], table.text_ids[t])
        for step in steps
        for i, t, label in zip(step.images, step.texts, step.labels, strict=True)
        if label
    ]
    assert sorted(right) == sorted(zip(many["image_id"], many["text_id"], strict=True))
    for step in steps:
        count = int(step.labels.sum())
        shared_image = np.repeat(step.images[:count], 2) == step.images[count:]
        shared_text = np.repeat(step.texts[:count], 2) == step.texts[count:]
        assert (shared_image ^ shared_text).all(), "one side is replaced, the other stays"
    replaced = np.concatenate([np.repeat(s.images[s.labels == 1], 2) != s.images[s.labels == 0] for s in steps])
    assert 0.35 < replaced.mean() < 0.65


def test_a_hard_one_is_among_the_best_that_may_be_wrong(many):
    table = pair_table(many, [f"i{n}" for n in range(40)])
    settings = NegativesConfig(hard=1.0, pool=120)
    (step,) = epoch_steps(table, settings, 3, 120, 1, by_number)
    scores = by_number(table.image_ids, table.text_ids)
    allowed = table.may_be_wrong(np.arange(40)[:, None], np.arange(len(table.text_ids))[None, :])
    scores = np.where(allowed, scores, -np.inf)
    for (image, text), (old_image, _) in zip(_codes(step, 0), _codes(step, 1), strict=True):
        better = scores[:, text] > scores[image, text] if image != old_image else scores[image] > scores[image, text]
        assert better.sum() < 3


def test_an_even_half_is_hard(many):
    table = pair_table(many, [f"i{n}" for n in range(40)])
    far = []
    for epoch in range(20):
        for step in epoch_steps(table, NegativesConfig(hard=0.5, pool=120), 2, 120, epoch, by_number):
            pairs = wrong(table, step, many)
            far += [abs(int(i[1:]) - float(t[1:])) > 4 for i, t in pairs if t != "common"]
    assert 0.3 < np.mean(far) < 0.5  # a random one is near, too, now and then


def test_the_same_seed_gives_the_same_epoch(many):
    table = pair_table(many, [f"i{n}" for n in range(40)])
    first, again, other = (
        [step.images.tolist() for step in epoch_steps(table, NegativesConfig(pool=16), 3, 8, seed, by_number)]
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_where_a_text_is_everywhere_the_other_side_is_replaced():
    rows = descriptions([("i0", "a", "all"), ("i1", "b", "all"), ("i1", "b", "own")])
    table = pair_table(rows, ["i0", "i1"])
    for seed in range(5):
        (step,) = epoch_steps(table, NegativesConfig(hard=0.5, pool=8), 3, 8, seed, lambda *ids: np.zeros((2, 2)))
        assert set(wrong(table, step, rows)) == {("i0", "own")}


def test_a_training_part_without_two_groups_is_refused():
    with pytest.raises(InputError, match="at least two groups"):
        pair_table(descriptions([("i0", "a", "t0"), ("i1", "a", "t1")]), ["i0", "i1"])


def _codes(step, label) -> list[tuple[int, int]]:
    return list(zip(step.images[step.labels == label], step.texts[step.labels == label], strict=True))
