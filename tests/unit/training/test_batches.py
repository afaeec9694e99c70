"""Which pairs train, and in what order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from lile.data.records import read_descriptions, read_folds
from lile.errors import InputError
from lile.evaluation.inputs import images_with_role
from lile.features.store import TokenStore
from lile.training.pairs import batch_indices, batches, pair_set


@pytest.mark.parametrize(("count", "size"), [(10, 4), (9, 4), (2, 4), (129, 128), (128, 128)])
def test_batches_are_a_seeded_partition_without_a_batch_of_one(count, size):
    parts = batch_indices(count, size, seed=1)
    assert sorted(np.concatenate(parts)) == list(range(count))
    assert min(map(len, parts)) >= 2
    again, other = batch_indices(count, size, seed=1), batch_indices(count, size, seed=2)
    assert all((a == b).all() for a, b in zip(parts, again, strict=True))
    assert count < 5 or any((a != b).any() for a, b in zip(parts, other, strict=True))


def test_a_pair_joins_a_description_with_its_own_image(fold_case):
    files = fold_case.files
    images, texts = TokenStore(files.images_store), TokenStore(files.texts_store)
    descriptions = read_descriptions(files.descriptions)
    train = images_with_role(read_folds(files.folds), 0, "train")
    pairs = pair_set(descriptions, train, images, texts)
    assert len(pairs) == 32
    for row, text_row in zip(pairs.image_rows, pairs.text_rows, strict=True):
        assert texts.ids[text_row].startswith("t" + images.ids[row][1:])
    (batch,) = batches(pairs, images, texts, 64, 0, torch.device("cpu"))
    assert batch.image_tokens.dtype == torch.float32
    assert (
        batch.image_keep.sum(dim=1).tolist() == images.lengths(pairs.image_rows[batch_indices(32, 64, 0)[0]]).tolist()
    )


def test_missing_fold_role_or_negatives_are_errors(fold_case):
    folds = read_folds(fold_case.files.folds)
    with pytest.raises(InputError, match="no column fold_7"):
        images_with_role(folds, 7, "train")
    with pytest.raises(InputError, match="no image is marked 'test'"):
        images_with_role(folds.replace("test", "train"), 0, "test")
    images, texts = TokenStore(fold_case.files.images_store), TokenStore(fold_case.files.texts_store)
    one = pd.DataFrame({"image_id": ["i0", "i1"], "group": ["g", "g"], "text_id": ["t00", "t10"]})
    with pytest.raises(InputError, match="at least two groups"):
        pair_set(one, ["i0", "i1"], images, texts)
