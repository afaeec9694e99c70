"""The batch of the similarity picture: its scores against plain indexing, and who is passed over."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lile.evaluation.batch import diagonal_batch
from lile.evaluation.grid import Grid, Matrix


class InBlocks(Matrix):
    """A matrix read in blocks of three."""

    grid = property(lambda self: Grid(*self.scores_NU.shape, size=3))


def descriptions(rows: list[tuple[str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image_id", "text_id"])


@pytest.mark.parametrize("kind", [np.asarray, InBlocks])
def test_scores_are_those_of_the_first_own_texts(kind):
    scores_NU = np.random.default_rng(0).random((7, 14)).astype(np.float32)
    images, texts = [f"i{n}" for n in range(7)], [f"t{n}" for n in range(14)]
    owned = descriptions([(f"i{n // 2}", f"t{n}") for n in range(14)])
    batch = diagonal_batch(kind(scores_NU), images, texts, [f"g{n}" for n in range(7)], owned, size=5)
    assert batch["batch_image_ids"].tolist() == images[:5]
    assert np.array_equal(batch["batch_scores"], scores_NU[:5][:, [0, 2, 4, 6, 8]])


def test_images_that_share_a_group_or_a_text_with_one_before_are_passed_over():
    owned = descriptions([("i0", "t0"), ("i1", "t1"), ("i2", "t0"), ("i3", "t3"), ("i0", "t4")])
    scores_NU = np.arange(16, dtype=np.float64).reshape(4, 4)
    batch = diagonal_batch(
        scores_NU, ["i3", "i0", "i1", "i2"], ["t3", "t4", "t0", "t1"], ["g2", "g0", "g0", "g1"], owned
    )
    assert batch["batch_image_ids"].tolist() == ["i3", "i0"]
    assert batch["batch_scores"].tolist() == [[0, 2], [4, 6]]
