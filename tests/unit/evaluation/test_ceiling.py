"""The ceiling against every possible scorer of small folds, by hand where captions are shared, and its price."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd
import pytest

from lile.evaluation.ceiling import best_ranks
from lile.evaluation.metrics import fold_metrics
from lile.evaluation.ranks import fold_ranks
from lile.evaluation.relevance import relevance_of

Fold = tuple[list[str], list[str], list[str], pd.DataFrame]


def small_fold(seed: int) -> Fold:
    """Four images in up to three groups, four texts, nine descriptions: texts shared, some said twice of one image."""
    draw = np.random.default_rng(seed)
    images, texts = [f"i{n}" for n in range(4)], [f"t{n}" for n in range(4)]
    owners = images + [images[n] for n in draw.integers(0, 4, 5)]
    words = [texts[n] for n in draw.integers(0, 4, len(owners))]
    groups = [f"g{n}" for n in draw.integers(0, 3, 4)]
    return images, texts, groups, pd.DataFrame({"image_id": owners, "text_id": words})


def every_list(size: int) -> Iterator[np.ndarray]:
    """Every order of ``size`` items, ties among them included."""
    yield from (np.array(scores, dtype=np.float32) for scores in product(range(size), repeat=size))


def hits(ranks: np.ndarray, depth: int, parts: np.ndarray) -> np.ndarray:
    """Queries of each part with a hit among the first ``depth``."""
    return np.bincount(parts, weights=ranks < depth)


@pytest.mark.parametrize("protocol", ["own", "group"])
@pytest.mark.parametrize("seed", range(6))
def test_it_equals_the_best_of_all_scorers(seed, protocol):
    images, texts, groups, descriptions = small_fold(seed)
    best = best_ranks(relevance_of(images, texts, groups, descriptions))[protocol]
    column = descriptions["text_id"].str[1:].astype(int).to_numpy()
    # An image's list hangs on its own row alone, and the lists of a text's queries on its own column alone.
    rows = [fold_ranks(np.tile(one, (4, 1)), images, texts, groups, descriptions)[protocol] for one in every_list(4)]
    columns = [
        fold_ranks(np.tile(one[:, None], (1, 4)), images, texts, groups, descriptions)[protocol]
        for one in every_list(4)
    ]
    for depth in range(1, 6):
        i2t = np.max([hits(ranks["i2t"], depth, np.arange(4)) for ranks in rows], axis=0)
        assert hits(best["i2t"], depth, np.arange(4)).tolist() == i2t.tolist()
        t2i = np.max([hits(ranks["t2i"], depth, column) for ranks in columns], axis=0)
        assert hits(best["t2i"], depth, column).tolist() == t2i.tolist()


@pytest.mark.parametrize("seed", range(20))
def test_one_scorer_reaches_both_directions_at_once_where_no_image_repeats_a_text(seed):
    images, texts, groups, descriptions = small_fold(seed)
    descriptions = descriptions.drop_duplicates()
    total = descriptions["text_id"].value_counts()
    scores = np.zeros((4, 4), dtype=np.float32)
    for image, text in descriptions.itertuples(index=False):
        row, column = images.index(image), texts.index(text)
        scores[row, column] = 10 - row / 100 - column / 1000 - total[text]  # rare texts first; no two own alike
    found = fold_ranks(scores, images, texts, groups, descriptions)["own"]
    best = best_ranks(relevance_of(images, texts, groups, descriptions))["own"]
    assert found["i2t"].tolist() == best["i2t"].tolist()
    for text in texts:  # which image comes first is open, the places are not
        asks = (descriptions["text_id"] == text).to_numpy()
        assert sorted(found["t2i"][asks]) == sorted(best["t2i"][asks])


def test_a_shared_caption_by_hand():
    images = pd.DataFrame({"image_id": list("abcd"), "group": ["g", "g", "g", "h"]})
    rows = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("c", "x"), ("d", "z")]
    descriptions = pd.DataFrame(rows, columns=["image_id", "text_id"]).assign(description_id=range(6))
    content, _ = fold_metrics(np.zeros((4, 3)), list("abcd"), ["x", "y", "z"], images, descriptions)
    own, group = content["protocols"]["own"], content["protocols"]["group"]
    # a and b put y on top, which one other image has; c has only x, which two others have; d is alone with z.
    assert (own["i2t"]["ceiling"]["R1"], own["i2t"]["ceiling"]["R5"]) == (25.0, 100.0)
    assert own["i2t"]["ceiling"]["MeanR"] == pytest.approx((2 + 2 + 3 + 1) / 4)
    # x asks three times and finds one owner first; y twice; z once.
    assert own["t2i"]["ceiling"]["R1"] == pytest.approx(100 * 3 / 6)
    assert own["ceiling_Rsum"] == pytest.approx(25 + 100 + 100 + 50 + 100 + 100)
    assert group["ceiling_Rsum"] == 600.0
    assert set(own["i2t"]["ceiling"]) == set(own["i2t"]["chance"]) - {"mAP", "Rprec"}  # no exact bound is known


def test_without_shared_texts_everything_can_be_reached():
    images, texts = [f"i{n}" for n in range(5)], [f"t{n}" for n in range(5)]
    descriptions = pd.DataFrame({"image_id": images, "text_id": texts})
    best = best_ranks(relevance_of(images, texts, images, descriptions))
    assert all(not ranks.any() for ways in best.values() for ranks in ways.values())


def test_it_is_cheap_enough_for_every_epoch():
    images = [f"i{n}" for n in range(5000)]
    words = np.random.default_rng(0).integers(0, 20_000, 25_000)
    texts = [f"t{n}" for n in range(20_000)]
    descriptions = pd.DataFrame({"image_id": images * 5, "text_id": [f"t{n}" for n in words]})
    relevance = relevance_of(images, texts, images, descriptions)
    start = time.process_time()
    best_ranks(relevance)
    assert time.process_time() - start < 0.5  # MS-COCO 5K: some hundredths of a second
