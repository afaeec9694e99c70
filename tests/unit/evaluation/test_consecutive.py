"""Blocks of test images against the loops of SCAN's and VSE++'s evaluation, and with any number of captions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lile.errors import InputError
from lile.evaluation import grid
from lile.evaluation.consecutive import Part, check_block_images, mean_of
from lile.evaluation.grid import Matrix
from lile.evaluation.metrics import fold_metrics

RECALLS = ("R1", "R5", "R10")


def published_i2t(sims, captions):
    """Text retrieval as the published evaluations count it: caption c belongs to image c // captions."""
    ranks = []
    for image, row in enumerate(sims):
        order = np.argsort(row)[::-1].tolist()
        ranks.append(min(order.index(image * captions + one) for one in range(captions)))
    return published_figures(np.array(ranks))


def published_t2i(sims, captions):
    """Image retrieval as the published evaluations count it."""
    ranks = [np.argsort(column)[::-1].tolist().index(place // captions) for place, column in enumerate(sims.T)]
    return published_figures(np.array(ranks))


def published_figures(ranks):
    recalls = {f"R{depth}": 100.0 * np.count_nonzero(ranks < depth) / len(ranks) for depth in (1, 5, 10)}
    return {**recalls, "MedR": np.floor(np.median(ranks)) + 1, "MeanR": ranks.mean() + 1}


def published_blocks(sims, captions, size):
    """The mean over consecutive blocks of images with their own captions."""
    found = []
    for first in range(0, len(sims), size):
        shard = sims[first : first + size, first * captions : (first + size) * captions]
        found.append({"i2t": published_i2t(shard, captions), "t2i": published_t2i(shard, captions)})
    return {way: {name: np.mean([one[way][name] for one in found]) for name in found[0][way]} for way in found[0]}


def tables(images, captions):
    image_ids = [f"i{n:04}" for n in range(images)]
    rows = [(f"{image}#{k}", image, f"t{n}-{k}") for n, image in enumerate(image_ids) for k in range(captions)]
    descriptions = pd.DataFrame(rows, columns=["description_id", "image_id", "text_id"])
    return image_ids, pd.DataFrame({"image_id": image_ids, "group": image_ids}), descriptions


def scored(images, captions, seed=0):
    """A scorer that is often right, and scores without ties: the published loops leave their order to argsort."""
    draw = np.random.default_rng(seed)
    own = np.repeat(np.eye(images), captions, axis=1)
    sims = own * 2.0 + draw.normal(size=own.shape)
    assert len(np.unique(sims)) == sims.size
    return sims


@pytest.mark.parametrize("captions", [1, 2, 5, 7])
def test_whole_and_blocks_equal_the_published_evaluation(monkeypatch, captions):
    monkeypatch.setattr(grid, "BLOCK", 16)  # lies across the blocks of images
    image_ids, images, descriptions = tables(60, captions)
    sims, text_ids = scored(60, captions), descriptions["text_id"].tolist()
    content, _ = fold_metrics(sims, image_ids, text_ids, images, descriptions, block_images=12)
    whole = {"i2t": published_i2t(sims, captions), "t2i": published_t2i(sims, captions)}
    for name, expected in (("own", whole), ("own_blocks", published_blocks(sims, captions, 12))):
        found = content["protocols"][name]
        for way in ("i2t", "t2i"):
            for figure in (*RECALLS, "MeanR"):
                assert found[way][figure] == pytest.approx(expected[way][figure]), (name, way, figure)
        assert found["Rsum"] == pytest.approx(sum(expected[way][figure] for way in expected for figure in RECALLS))
    # Theirs rounds a median between two ranks down.
    assert all(np.floor(content["protocols"]["own"][way]["MedR"]) == whole[way]["MedR"] for way in whole)
    assert content["blocks"] == {"images": 12, "count": 5, "left_out": 0}
    assert content["protocols"]["own_blocks"].keys() == content["protocols"]["own"].keys()


def ragged(seed):
    """Images with one to four descriptions in any order, some with the same text; scores full of ties."""
    draw = np.random.default_rng(seed)
    image_ids = [f"i{n}" for n in draw.permutation(11)]
    owners = [*image_ids, *draw.choice(image_ids, 14)]
    words = [f"t{n}" for n in draw.integers(0, 12, len(owners))]
    descriptions = pd.DataFrame({"image_id": owners, "text_id": words}).sample(frac=1, random_state=seed)
    descriptions["description_id"] = [f"d{n}" for n in range(len(owners))]
    text_ids = descriptions["text_id"].unique().tolist()
    return draw.integers(0, 4, (11, len(text_ids))).astype(np.float32), image_ids, text_ids, descriptions


@pytest.mark.parametrize("size", [1, 2, 5, 1024])
@pytest.mark.parametrize("seed", range(6))
def test_each_block_is_an_evaluation_of_its_own(monkeypatch, seed, size):
    monkeypatch.setattr(grid, "BLOCK", size)
    scores, image_ids, text_ids, descriptions = ragged(seed)
    images = pd.DataFrame({"image_id": image_ids, "group": "g"})
    content, _ = fold_metrics(scores, image_ids, text_ids, images, descriptions, block_images=4)
    alone = []
    for first in (0, 4):
        ids = image_ids[first : first + 4]
        mine = descriptions[descriptions["image_id"].isin(ids)]
        texts = mine["text_id"].unique().tolist()
        part = scores[first : first + 4][:, [text_ids.index(text) for text in texts]]
        few = images[images["image_id"].isin(ids)]
        alone.append(fold_metrics(part, ids, texts, few, mine)[0]["protocols"]["own"])
    found = content["protocols"]["own_blocks"]
    assert content["blocks"] == {"images": 4, "count": 2, "left_out": 3}
    for way in ("i2t", "t2i"):
        for key in ("R1", "R5", "MedR", "MeanR", "mAP", "Rprec"):
            assert found[way][key] == pytest.approx((alone[0][way][key] + alone[1][way][key]) / 2)
            assert found[way]["chance"][key] == pytest.approx(np.mean([one[way]["chance"][key] for one in alone]))
    assert found["ceiling_Rsum"] == pytest.approx(np.mean([one["ceiling_Rsum"] for one in alone]))


@given(st.integers(1, 9), st.data())
@settings(max_examples=80, deadline=None)
def test_a_part_reads_the_same_scores_as_the_whole(size, data):
    whole = Matrix(np.arange(11 * 13).reshape(11, 13))
    first = data.draw(st.integers(0, 10))
    rows = slice(first, data.draw(st.integers(first + 1, 11)))
    columns = np.array(sorted(data.draw(st.sets(st.integers(0, 12), min_size=1))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "BLOCK", size)
        part = Part(whole, rows, columns)
        found = np.zeros((rows.stop - rows.start, len(columns)), dtype=int)
        for block in part.grid:
            found[block.rows, block.columns] += part.read(block)
    np.testing.assert_array_equal(found, whole.scores_NU[rows][:, columns])


def test_too_few_images_for_a_block_are_refused():
    check_block_images(None, 3)
    check_block_images(3, 3)
    with pytest.raises(InputError, match="block_images=4: the fold has only 3 test images"):
        check_block_images(4, 3)


def test_without_blocks_nothing_is_said_of_them():
    image_ids, images, descriptions = tables(4, 2)
    content, _ = fold_metrics(np.eye(4, 8), image_ids, descriptions["text_id"].tolist(), images, descriptions)
    assert set(content["protocols"]) == {"own", "group"}
    assert "blocks" not in content


def test_means_reach_every_number():
    assert mean_of([{"a": 1, "b": {"c": 2.0}}, {"a": 2, "b": {"c": 5.0}}]) == {"a": 1.5, "b": {"c": 3.5}}
