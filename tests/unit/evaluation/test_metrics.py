"""One small fold whose figures are known by hand, and the file of ranks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lile.errors import InputError
from lile.evaluation.metrics import fold_metrics, write_ranks
from lile.files import write_json


@pytest.fixture
def fold():
    images = pd.DataFrame({"image_id": ["b", "a", "c"], "group": ["g", "g", "h"]})  # not in the order of the scores
    descriptions = pd.DataFrame(
        {
            "description_id": ["d0", "d1", "d2", "d3"],
            "image_id": ["a", "b", "c", "c"],
            "text_id": ["x", "x", "y", "z"],
        }
    )
    scores = np.array([[0.9, 0.2, 0.1], [0.8, 0.1, 0.3], [0.85, 0.5, 0.4]], dtype=np.float32)
    return scores, ["a", "b", "c"], ["x", "y", "z"], images, descriptions


def test_the_content_of_metrics_json(fold, tmp_path):
    content, _ = fold_metrics(*fold, fold=2)
    write_json(tmp_path / "metrics.json", content)  # nothing in it that JSON cannot hold
    assert {key: content[key] for key in ("fold", "images", "texts", "unique_texts", "groups")} == {
        "fold": 2,
        "images": 3,
        "texts": 4,
        "unique_texts": 3,
        "groups": 2,
    }
    own, group = content["protocols"]["own"], content["protocols"]["group"]
    assert own["i2t"]["R1"] == 0.0  # a and b share their text; c prefers it
    assert own["t2i"]["R1"] == pytest.approx(75.0)  # x finds a, not b; y and z find c
    assert group["i2t"]["R1"] == pytest.approx(200 / 3)
    assert group["t2i"]["R1"] == 100.0
    assert own["i2t"]["chance"]["R1"] == pytest.approx(100 * (1 / 4 + 1 / 4 + 2 / 4) / 3)
    assert own["t2i"]["chance"]["R1"] == pytest.approx(100 / 3)
    assert own["Rsum"] == pytest.approx(sum(own[way][name] for way in ("i2t", "t2i") for name in ("R1", "R5", "R10")))
    assert own["chance_Rsum"] < own["Rsum"]
    assert own["i2t"]["mAP"] == pytest.approx(100 * (1 / 2 + 1 / 2 + (1 / 3 + 2 / 4) / 2) / 3)
    assert own["i2t"]["Rprec"] == 0.0  # c has two right texts, at places 3 and 4
    assert own["t2i"]["mAP"] == pytest.approx(100 * (1 + 1 / 3 + 1 + 1) / 4)
    assert group["i2t"]["mAP"] == pytest.approx(100 * (1 + 1 + (1 / 3 + 2 / 4) / 2) / 3)
    assert group["t2i"]["Rprec"] == pytest.approx(100 * (1 / 2 + 1 / 2 + 1 + 1) / 4)  # x finds a, then c, then b
    assert own["i2t"]["chance"]["Rprec"] == pytest.approx(100 * (1 / 4 + 1 / 4 + 2 / 4) / 3)
    assert "fold" not in fold_metrics(*fold)[0]


def test_ranks_and_their_queries_are_kept(fold, tmp_path):
    _, arrays = fold_metrics(*fold)
    write_ranks(tmp_path / "ranks.npz", arrays)
    with np.load(tmp_path / "ranks.npz", allow_pickle=False) as kept:
        assert kept["image_ids"].tolist() == ["a", "b", "c"]
        assert kept["description_ids"].tolist() == ["d0", "d1", "d2", "d3"]
        assert kept["own_i2t"].tolist() == [1, 1, 2]
        assert kept["own_t2i"].tolist() == [0, 2, 0, 0]
        assert kept["group_i2t"].tolist() == [0, 0, 2]
        assert kept["group_t2i"].tolist() == [0, 0, 0, 0]
        assert kept["image_groups"].tolist() == ["g", "g", "h"]
        assert kept["description_image"].tolist() == [0, 1, 2, 2]
        assert kept["own_i2t_ap"].tolist() == pytest.approx([1 / 2, 1 / 2, (1 / 3 + 2 / 4) / 2])
        assert kept["own_i2t_rprec"].tolist() == [0, 0, 0]
        assert kept["group_t2i_rprec"].tolist() == [1 / 2, 1 / 2, 1, 1]
        assert kept["own_t2i_ap"].dtype == np.float64
        assert len(kept.files) == 4 + 8 + 4
    assert [path.name for path in tmp_path.iterdir()] == ["ranks.npz"]


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "c", "d"], ["a", "b", "z"]])
def test_other_images_than_the_scored_are_refused(fold, names):
    images = pd.DataFrame({"image_id": names, "group": names})
    with pytest.raises(InputError, match="differ by"):
        fold_metrics(*fold[:3], images, fold[4])


def test_an_image_named_twice_is_refused(fold):
    images = pd.DataFrame({"image_id": ["a", "a", "b", "c"], "group": ["g", "h", "g", "h"]})
    with pytest.raises(InputError, match="twice"):
        fold_metrics(*fold[:3], images, fold[4])
