"""Boxes in token stores: kept as given, read as geometry, refused where they are missing or wrong."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lile.errors import InputError
from lile.features import shard_reader, shard_writer
from lile.features.shard_writer import write_store
from lile.features.store import TokenStore

ABOUT = {"library": "tests", "weights_digest": "aaaa"}
WIDTH = 3


def regions_of(lengths: list[int], start: int = 0) -> list[tuple[str, np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(start)
    found = []
    for k, length in enumerate(lengths):
        corners = np.sort(rng.uniform(size=(length, 2, 2)), axis=1)
        found.append((f"item {start + k}", rng.normal(size=(length, WIDTH)), corners.reshape(length, 4)))
    return found


def slow_read(items: list[tuple[str, np.ndarray, np.ndarray]], rows: list[int]) -> np.ndarray:
    """The twin: one region and one number at a time."""
    longest = max((len(items[row][1]) for row in rows), default=0)
    out = np.zeros((len(rows), longest, WIDTH + 5), dtype=np.float16)
    for place, row in enumerate(rows):
        _, tokens, boxes = items[row]
        for region in range(len(tokens)):
            x1, y1, x2, y2 = (np.float32(corner) for corner in boxes[region])
            for column, value in enumerate([*tokens[region], x1, y1, x2, y2, (x2 - x1) * (y2 - y1)]):
                out[place, region, column] = np.float16(value)
    return out


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shards=st.lists(st.lists(st.integers(1, 6), max_size=8), min_size=1, max_size=3).filter(lambda s: any(map(len, s))),
    worth=st.sampled_from([1, 1 << 20]),
    chunk=st.sampled_from([1, 30, 1 << 20]),
    data=st.data(),
)
def test_geometry_agrees_with_the_slow_twin(tmp_path, monkeypatch, shards, worth, chunk, data):
    monkeypatch.setattr(shard_writer, "_CHUNK_BYTES", chunk)
    monkeypatch.setattr(shard_reader, "_WORTH_THREADS", worth)
    items, paths = [], []
    for number, lengths in enumerate(shards):
        some = regions_of(lengths, start=len(items))
        paths.append(tmp_path / f"shard-{number}.h5")
        write_store(paths[-1], iter(some), ABOUT, width=WIDTH)
        items += some
    rows = data.draw(st.lists(st.integers(0, len(items) - 1), max_size=12))
    with TokenStore(paths, geometry=True) as store:
        tokens, keep = store.read(np.array(rows, dtype=int))
        assert store.width == WIDTH + 5
    with TokenStore(paths) as plain:
        alone, plain_keep = plain.read(np.array(rows, dtype=int))
        assert plain.width == WIDTH
    assert tokens.dtype == np.float16
    np.testing.assert_array_equal(tokens, slow_read(items, rows))
    np.testing.assert_array_equal(alone, tokens[:, :, :WIDTH])
    np.testing.assert_array_equal(keep, plain_keep)


def test_boxes_are_kept_as_they_were_given(tmp_path):
    items = regions_of([2, 5, 1])
    write_store(tmp_path / "s.h5", items, ABOUT)
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["boxes"].dtype == np.float32
        expected = np.concatenate([boxes for _, _, boxes in items]).astype(np.float32)
        np.testing.assert_array_equal(file["boxes"][...], expected)


def test_a_store_without_boxes_has_no_geometry(tmp_path):
    path = tmp_path / "s.h5"
    write_store(path, [item[:2] for item in regions_of([1, 2])], ABOUT)
    with h5py.File(path) as file:
        assert "boxes" not in file
    with pytest.raises(InputError, match=r"s\.h5: has no boxes.*boxes: false"):
        TokenStore([path], geometry=True)


def test_an_empty_shard_needs_no_boxes(tmp_path):
    first, second = tmp_path / "a.h5", tmp_path / "b.h5"
    write_store(first, regions_of([2, 1]), ABOUT)
    write_store(second, [], ABOUT, width=WIDTH)
    tokens, _ = TokenStore([first, second], geometry=True).read(np.array([1]))
    assert tokens.shape == (1, 1, WIDTH + 5)


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        (np.zeros((1, 4)), r"boxes of shape \(1, 4\) for 2 tokens"),
        (np.zeros((2, 5)), r"\(2, 5\)"),
        ([[0, 0, 1, 1], [0, 0, 1.5, 1]], r"box 1 is \[0.0, 0.0, 1.5, 1.0\].*Divide pixels"),
        ([[-0.5, 0, 1, 1], [0, 0, 1, 1]], "box 0"),
        ([[0, 0, 1, 1], [0.5, 0, 0.25, 1]], "x1 <= x2"),
        ([[0, 0, 1, 1], [0, np.nan, 1, 1]], "box 1"),
    ],
)
def test_a_wrong_box_is_named_and_nothing_is_left(tmp_path, boxes, words):
    bad = ("the bad one", np.zeros((2, WIDTH)), np.asarray(boxes, dtype=float))
    with pytest.raises(InputError, match=words) as caught:
        write_store(tmp_path / "s.h5", [*regions_of([2]), bad], ABOUT)
    assert "'the bad one'" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("with_first", [True, False])
def test_boxes_for_some_items_are_refused(tmp_path, with_first):
    items = regions_of([1, 1])
    items[with_first] = items[with_first][:2]
    with pytest.raises(InputError, match="for all items or for none"):
        write_store(tmp_path / "s.h5", items, ABOUT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (np.zeros((3, 4), dtype=np.float64), "boxes are float64"),
        (np.zeros((2, 4), dtype=np.float32), r"boxes are float32 of shape \(2, 4\)"),
    ],
)
def test_boxes_that_do_not_fit_their_tokens(tmp_path, made, words):
    write_store(tmp_path / "s.h5", regions_of([2, 1]), ABOUT)
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        del file["boxes"]
        file["boxes"] = made
    with pytest.raises(InputError, match=words):
        TokenStore([tmp_path / "s.h5"])
