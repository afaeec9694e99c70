"""Every figure of a real ``metrics.json`` has a name that MLflow takes as it is."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from lile.evaluation.metrics import fold_metrics
from lile.tracking.records import figures_of_test, metric_name


@pytest.mark.parametrize("block_images", [None, 2])
def test_all_figures_of_an_evaluation_reach_the_tracker(block_images):
    ids = ["a", "b", "c", "d", "e"]
    images = pd.DataFrame({"image_id": ids, "group": ["g", "g", "h", "h", "h"]})
    descriptions = pd.DataFrame({"image_id": ids * 2, "text_id": [f"t{n}" for n in range(10)]})
    descriptions["description_id"] = [f"d{n}" for n in range(10)]
    scores = np.random.default_rng(0).random((5, 10))
    content, _ = fold_metrics(
        scores, ids, descriptions["text_id"].tolist(), images, descriptions, fold=0, block_images=block_images
    )
    found = figures_of_test(json.loads(json.dumps(content)))
    protocols = ["own", "group"] if block_images is None else ["own", "group", "own_blocks"]
    for name in protocols:
        for way in ("i2t", "t2i"):
            for figure in ("R1", "R5", "R10", "MedR", "MeanR", "mAP", "Rprec"):
                assert found[f"test/{name}/{way}/{figure}"] == content["protocols"][name][way][figure]
                assert found[f"test/{name}/{way}/chance/{figure}"] == content["protocols"][name][way]["chance"][figure]
            assert f"test/{name}/{way}/ceiling/R1" in found
        assert f"test/{name}/chance_Rsum" in found
    assert {name.split("/")[1] for name in found} - {"images", "texts", "unique_texts", "groups"} == (
        {*protocols} if block_images is None else {*protocols, "blocks"}
    )
    assert all(metric_name(name) == name for name in found)
