"""Rows of a .npy file become a store: as they are, without padding, shard by shard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lile.errors import InputError
from lile.features.npy_regions import store_npy_regions
from lile.features.store import TokenStore

COUNT = 7


def regions(width: int = 6) -> np.ndarray:
    array = np.random.default_rng(0).normal(size=(COUNT, 4, width)).astype(np.float32)
    array[2, 3:] = 0  # one region of padding
    array[5, 1:] = 0  # three
    array[6, 1] = 0  # zeros before a region are no padding
    return array


@pytest.fixture
def images(tmp_path) -> pd.DataFrame:
    np.save(tmp_path / "dev_ims.npy", np.repeat(regions(), 5, axis=0))
    ids = [f"dev:{n:06d}" for n in range(COUNT)]
    return pd.DataFrame({"image_id": ids, "path": [f"{tmp_path}/dev_ims.npy#{5 * n}" for n in range(COUNT)]})


@pytest.mark.parametrize("shards", [1, 3])
def test_every_image_has_its_own_regions_without_padding(images, tmp_path, shards):
    paths = [tmp_path / f"shard-{shard}.h5" for shard in range(shards)]
    for shard, path in enumerate(paths):
        store_npy_regions(images, path, name="scan", shard=shard, shards=shards, code="c")
    with TokenStore(paths, expect={"library": "npy"}) as store:
        assert store.ids == [i for shard in range(shards) for i in images["image_id"][shard::shards]]
        rows = store.rows_of(images["image_id"].tolist())
        assert store.lengths(rows).tolist() == [4, 4, 3, 4, 4, 1, 4]
        tokens, keep = store.read(rows)
        np.testing.assert_array_equal(
            tokens[keep],
            np.concatenate([r[:n] for r, n in zip(regions(), store.lengths(rows), strict=True)]).astype(np.float16),
        )
    padding = [TokenStore([path]).about["padding"] for path in paths]
    assert sum(padding) == 4


@pytest.mark.parametrize("width", [2048, 1])
def test_any_width(tmp_path, width):
    np.save(tmp_path / "a_feat.npy", np.ones((2, 36, width), np.float16))
    images = pd.DataFrame({"image_id": ["a:0", "a:1"], "path": [f"{tmp_path}/a_feat.npy#{n}" for n in (0, 1)]})
    assert store_npy_regions(images, tmp_path / "shard.h5", name="scan") == 2
    assert TokenStore([tmp_path / "shard.h5"]).width == width


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("{}/dev_ims.npy#35", "no such row, the file has 35"),
        ("{}/none.npy#0", "no such file"),
        ("{}/a.png", "no row of"),
    ],
)
def test_places_that_lead_nowhere(images, tmp_path, path, words):
    images.loc[3, "path"] = path.format(tmp_path)
    with pytest.raises(InputError, match=words):
        store_npy_regions(images, tmp_path / "shard.h5", name="scan")
    assert not list(tmp_path.glob("*shard*"))


def test_an_image_of_zeros_alone_is_an_error(images, tmp_path):
    array = np.load(tmp_path / "dev_ims.npy")
    array[10:15] = 0
    np.save(tmp_path / "dev_ims.npy", array)
    with pytest.raises(InputError, match=r"all regions of dev:000002 are zero.*read_precomputed"):
        store_npy_regions(images, tmp_path / "shard.h5", name="scan")
    assert not Path(tmp_path / "shard.h5").exists()


def test_a_shard_that_does_not_exist(images, tmp_path):
    with pytest.raises(InputError, match="shard 2 of 2"):
        store_npy_regions(images, tmp_path / "shard.h5", name="scan", shard=2, shards=2)
