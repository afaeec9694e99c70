"""A store that was damaged on the disk says so, names file and item, and gives no wrong token."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lile.errors import InputError
from lile.features.shard_writer import write_store
from lile.features.store import TokenStore

ABOUT = {"library": "tests", "weights_digest": "aaaa"}
COUNT, LENGTH, WIDTH = 30, 4, 64


def write(path: Path, boxes: bool = True) -> None:
    rng = np.random.default_rng(0)
    corners = np.tile([0.1, 0.2, 0.3, 0.4], (LENGTH, 1))
    items = [(f"i{k}", rng.normal(size=(LENGTH, WIDTH)), corners) for k in range(COUNT)]
    write_store(path, items if boxes else [item[:2] for item in items], ABOUT)


def read_all(path: Path) -> tuple[np.ndarray, list[str], dict]:
    store = TokenStore([path], geometry=True)
    return store.read(np.arange(len(store)))[0], store.ids, store.about


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_changes_nothing_or_is_noticed(tmp_path, place, bit):
    path = tmp_path / "s.h5"
    if not path.exists():
        write(path)
        (tmp_path / "whole").write_bytes(path.read_bytes())
        np.save(tmp_path / "tokens.npy", read_all(path)[0])
    content = bytearray((tmp_path / "whole").read_bytes())
    used = int(0.03 * len(content))  # most of a small file is the unused rest of its chunks
    spot = int(place * (used if place < 0.7 else len(content)))
    content[spot] ^= 1 << bit
    path.write_bytes(content)
    with suppress(InputError):
        tokens, ids, about = read_all(path)
        np.testing.assert_array_equal(tokens, np.load(tmp_path / "tokens.npy"))
        assert ids == [f"i{k}" for k in range(COUNT)]
        assert about == ABOUT


@pytest.mark.parametrize(("table", "what"), [("tokens", "tokens"), ("boxes", "boxes")])
def test_the_damaged_item_is_named(tmp_path, table, what):
    path = tmp_path / "s.h5"
    write(path)
    with h5py.File(path, "r+") as file:
        file[table][LENGTH * 3 + 1, 2] += 0.5
    store = TokenStore([path], geometry=True)
    store.read(np.array([2, 4]))
    with pytest.raises(InputError, match=rf"s\.h5: damaged: the {what} of 'i3' are not as written.*this shard alone"):
        store.read(np.array([2, 3]))


def test_boxes_that_nobody_reads_are_not_compared(tmp_path):
    write(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["boxes"][...] = 0
    TokenStore([tmp_path / "s.h5"]).read(np.arange(COUNT))


@pytest.mark.parametrize("name", ["ids", "offsets", "sums"])
def test_a_changed_index_is_noticed_at_once(tmp_path, name):
    write(tmp_path / "s.h5", boxes=False)
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        changed = file[name][...]
        changed[1] = b"other" if name == "ids" else changed[1] + 1
        file[name][...] = changed
    with pytest.raises(InputError, match="index is not as written"):
        TokenStore([tmp_path / "s.h5"])


def test_a_file_from_before_there_were_sums_is_read(tmp_path):
    path = tmp_path / "s.h5"
    write(path)
    expected = read_all(path)[0]
    with h5py.File(path, "r+") as file:
        del file["sums"], file.attrs["index_sum"]
    np.testing.assert_array_equal(read_all(path)[0], expected)


def test_a_file_cut_off_while_it_is_open_is_named(tmp_path):
    path = tmp_path / "s.h5"
    write(path)
    store = TokenStore([path])
    store.read(np.array([0]))
    with path.open("r+b") as handle:
        handle.truncate(4096)
    with pytest.raises(InputError, match=r"s\.h5: damaged: cut off"):
        store.read(np.arange(COUNT))


def test_compressed_tokens_of_another_make_are_refused(tmp_path):
    path = tmp_path / "s.h5"
    write(path)
    with h5py.File(path, "r+") as file:
        whole = file["tokens"][...]
        del file["tokens"]
        file.create_dataset("tokens", data=whole, compression="lzf")
    with pytest.raises(InputError, match=r"s\.h5: tokens are compressed"):
        TokenStore([path]).read(np.array([0]))


@pytest.mark.parametrize("chunks", [None, (1, WIDTH), (7, WIDTH), (1000, WIDTH)])
def test_any_layout_of_rows_is_read(tmp_path, chunks):
    path = tmp_path / "s.h5"
    write(path)
    expected = read_all(path)[0]
    with h5py.File(path, "r+") as file:
        whole = file["tokens"][...]
        del file["tokens"]
        file.create_dataset("tokens", data=whole, chunks=chunks, maxshape=(None, WIDTH) if chunks else None)
    np.testing.assert_array_equal(read_all(path)[0], expected)
