"""Token stores: against a slow twin, across shards, processes and damage."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lile.errors import InputError
from lile.features import shard_reader, shard_writer
from lile.features.shard_writer import write_store
from lile.features.store import TokenStore

ABOUT = {
    "encoder": "tiny",
    "library": "timm",
    "weights": "random",
    "weights_digest": "aaaa",
    "trainable_blocks": 2,
    "depth": 10,
    "transform": {"mean": [0.5, 0.5, 0.5], "size_px": 224},
}
WIDTH = 3


def items_of(lengths: list[int], start: int = 0) -> list[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(start)
    return [
        (f"item {start + k}", rng.normal(size=(length, WIDTH)).astype(np.float32)) for k, length in enumerate(lengths)
    ]


def slow_read(items: list[tuple[str, np.ndarray]], rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The twin: everything in memory, one item and one token at a time."""
    longest = max((len(items[row][1]) for row in rows), default=0)
    tokens = np.zeros((len(rows), longest, WIDTH), dtype=np.float16)
    keep = np.zeros((len(rows), longest), dtype=bool)
    for place, row in enumerate(rows):
        for position, token in enumerate(items[row][1]):
            tokens[place, position] = token.astype(np.float16)
            keep[place, position] = True
    return tokens, keep


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shards=st.lists(st.lists(st.integers(1, 9), max_size=12), min_size=1, max_size=4).filter(
        lambda s: any(map(len, s))
    ),
    worth=st.sampled_from([1, 1 << 20]),
    chunk=st.sampled_from([1, 30, 100, 1 << 20]),
    data=st.data(),
)
def test_random_reads_agree_with_the_slow_twin(tmp_path, monkeypatch, shards, worth, chunk, data):
    monkeypatch.setattr(shard_writer, "_CHUNK_BYTES", chunk)
    monkeypatch.setattr(shard_reader, "_WORTH_THREADS", worth)
    items, paths = [], []
    for number, lengths in enumerate(shards):
        some = items_of(lengths, start=len(items))
        paths.append(tmp_path / f"shard-{number}.h5")
        assert write_store(paths[-1], iter(some), ABOUT, width=WIDTH) == len(lengths)
        items += some
    rows = data.draw(st.lists(st.integers(0, len(items) - 1), max_size=20))
    with TokenStore(paths, expect=ABOUT) as store:
        assert store.ids == [item_id for item_id, _ in items]
        assert len(store) == len(items)
        assert store.width == WIDTH
        tokens, keep = store.read(store.rows_of([items[row][0] for row in rows]))
        assert store.lengths(np.array(rows, dtype=int)).tolist() == [len(items[row][1]) for row in rows]
    expected_tokens, expected_keep = slow_read(items, rows)
    assert tokens.dtype == np.float16
    assert keep.dtype == bool
    np.testing.assert_array_equal(tokens, expected_tokens)
    np.testing.assert_array_equal(keep, expected_keep)


def test_file_holds_no_padding_and_describes_itself(tmp_path):
    path = tmp_path / "new folder" / "shard-0.h5"
    write_store(path, items_of([2, 5, 1]), ABOUT, code="c0de")
    with h5py.File(path) as file:
        assert file["tokens"].shape == (8, WIDTH)
        assert file["tokens"].dtype == np.float16
        assert file["offsets"][...].tolist() == [0, 2, 7, 8]
        assert file.attrs["format"] == "lile-tokens/1"
        assert json.loads(file.attrs["about"]) == ABOUT
        assert file.attrs["code"] == "c0de"
    assert [found.name for found in path.parent.iterdir()] == ["shard-0.h5"]
    assert TokenStore([path]).about == ABOUT


def test_neither_writing_nor_reading_holds_the_store_in_memory(tmp_path):
    path = tmp_path / "s.h5"
    count, block = 400, np.ones((100, 512), dtype=np.float16)  # 40 MB of tokens
    tracemalloc.start()
    try:
        write_store(path, ((str(k), block) for k in range(count)), ABOUT)
        store = TokenStore([path])
        tokens, _ = store.read(np.array([0, 399, 7]))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert tokens.shape == (3, 100, 512)
    assert peak < 10e6


def read_all(store: TokenStore) -> float:
    return float(store.read(np.arange(len(store)))[0].astype(float).sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_open_store_works_in_other_processes(tmp_path, monkeypatch, method):
    monkeypatch.setattr(shard_reader, "_WORTH_THREADS", 1)  # a child has none of its parent's threads
    path = tmp_path / "s.h5"
    write_store(path, items_of([3, 1, 4, 1, 5]), ABOUT)
    store = TokenStore([path])
    total = read_all(store)  # the file is open now
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(read_all, [store] * 4) == [total] * 4
    assert read_all(store) == total
    assert read_all(pickle.loads(pickle.dumps(store))) == total
    store.close()
    assert read_all(store) == total


def child_of_fork(store: TokenStore, total: float, answer) -> None:
    answer.put(all(read_all(store) == total for _ in range(50)))


def test_inherited_handles_are_not_used_after_a_fork(tmp_path):
    path = tmp_path / "s.h5"
    write_store(path, items_of([7] * 200), ABOUT)
    store = TokenStore([path])
    total = read_all(store)
    context = multiprocessing.get_context("fork")
    answer = context.SimpleQueue()
    children = [context.Process(target=child_of_fork, args=(store, total, answer)) for _ in range(3)]
    for child in children:
        child.start()
    assert all(read_all(store) == total for _ in range(50))
    assert [answer.get() for _ in children] == [True] * 3
    for child in children:
        child.join()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("weights_digest", "bbbb"),
        ("trainable_blocks", 3),
        ("depth", 9),
        ("transform", {"mean": [0.5, 0.5, 0.5], "size_px": 96}),
    ],
)
def test_a_store_made_otherwise_is_refused(tmp_path, key, value):
    path = tmp_path / "s.h5"
    write_store(path, items_of([1]), ABOUT)
    TokenStore([path], expect={**ABOUT, "encoder": "another name", "weights": "elsewhere"})
    with pytest.raises(InputError) as caught:
        TokenStore([path], expect={**ABOUT, key: value})
    message = str(caught.value)
    assert str(path) in message
    assert "aaaa" in message
    assert f"{key} {ABOUT[key]!r} instead of {value!r}" in message
    assert "run the features rule" in message
    if key == "weights_digest":
        assert "bbbb" in message


def test_shards_must_be_of_one_make_and_have_no_item_twice(tmp_path):
    first, second, third = (tmp_path / f"{k}.h5" for k in range(3))
    write_store(first, items_of([1, 2]), ABOUT)
    write_store(second, items_of([1], start=9), {**ABOUT, "weights_digest": "bbbb"})
    write_store(third, items_of([4], start=1), ABOUT)
    with pytest.raises(InputError, match="fellow shard"):
        TokenStore([first, second])
    with pytest.raises(InputError, match="'item 1' is in two shards"):
        TokenStore([first, third])
    with pytest.raises(InputError, match="at least one shard"):
        TokenStore([])


def test_asking_for_what_is_not_there(tmp_path):
    path = tmp_path / "s.h5"
    write_store(path, items_of([1, 2]), ABOUT)
    store = TokenStore([path])
    with pytest.raises(InputError, match=r"'nobody'.*2 of 3"):
        store.rows_of(["item 0", "nobody", "none"])
    with pytest.raises(IndexError):
        store.read(np.array([2]))
    with pytest.raises(IndexError):
        store.read(np.array([-1]))
    with pytest.raises(InputError, match="no such token store"):
        TokenStore([tmp_path / "absent.h5"])


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.full((1, WIDTH), 70000.0), "65504"),
        (np.full((1, WIDTH), np.nan), "not finite"),
        (np.full((1, WIDTH), -np.inf, dtype=np.float16), "not finite"),
        (np.zeros((0, WIDTH)), "at least 1"),
        (np.zeros((2, WIDTH + 1)), "at least 1, 3"),
        (np.zeros(WIDTH), "shape"),
    ],
)
def test_a_bad_item_is_named_and_nothing_is_left(tmp_path, bad, words):
    path = tmp_path / "s.h5"
    with pytest.raises(InputError, match=words) as caught:
        write_store(path, [*items_of([2, 2]), ("the bad one", bad)], ABOUT)
    assert "'the bad one'" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_extreme_but_finite_values_are_kept(tmp_path):
    values = np.array([[65504.0, -65504.0, 6e-8]])
    write_store(tmp_path / "s.h5", [("a", values)], ABOUT)
    tokens, _ = TokenStore([tmp_path / "s.h5"]).read(np.array([0]))
    np.testing.assert_array_equal(tokens[0], values.astype(np.float16))


def test_an_id_twice_or_no_item_at_all(tmp_path):
    path = tmp_path / "s.h5"
    with pytest.raises(InputError, match="unique"):
        write_store(path, [*items_of([1]), *items_of([1])], ABOUT)
    with pytest.raises(InputError, match="no items"):
        write_store(path, [], ABOUT)
    assert list(tmp_path.iterdir()) == []
    assert write_store(path, [], ABOUT, width=WIDTH) == 0
    tokens, keep = TokenStore([path]).read(np.array([], dtype=int))
    assert (tokens.shape, keep.shape) == ((0, 0, WIDTH), (0, 0))


def test_an_error_of_the_producer_passes_through_and_an_older_store_stays(tmp_path):
    path = tmp_path / "s.h5"
    write_store(path, items_of([1]), ABOUT)

    def failing():
        yield from items_of([2], start=5)
        raise RuntimeError("the encoder broke")

    with pytest.raises(RuntimeError, match="the encoder broke"):
        write_store(path, failing(), ABOUT)
    assert [found.name for found in tmp_path.iterdir()] == ["s.h5"]
    assert TokenStore([path]).ids == ["item 0"]


@pytest.mark.parametrize("limit", [100, 5_000, 1_500_000, 3_000_000])
def test_a_full_disk_leaves_one_line_and_no_file(tmp_path, limit):
    """A limit on the file's size strikes at the same calls as a full disk, at any size, without a mount."""
    script = f"""
import resource, signal
from pathlib import Path
import h5py, numpy as np
from lile.features.shard_writer import write_store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
block = np.ones((100, 64), dtype=np.float16)
try:
    write_store(Path({str(tmp_path / "s.h5")!r}), ((str(k), block) for k in range(250)), {{}})
except OSError as error:
    print("refused:", error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("refused:"), done
    assert "s.h5: cannot write the token store (" in done.stdout
    assert len(done.stdout.splitlines()) == 1, "HDF5's own words run over several"
    assert done.returncode == 0, done
    assert list(tmp_path.iterdir()) == []


def whole_file(folder: Path) -> bytes:
    write_store(folder / "s.h5", items_of([5] * 50), ABOUT)
    return (folder / "s.h5").read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_cut_off_file_is_named(tmp_path, share):
    content = whole_file(tmp_path)
    path = tmp_path / "s.h5"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"s\.h5"):
        TokenStore([path])


def test_files_that_are_something_else(tmp_path):
    path = tmp_path / "s.h5"
    path.write_text("image_id,path\n")
    with pytest.raises(InputError, match="no HDF5 file"):
        TokenStore([path])
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "lile-tokens/9"
    with pytest.raises(InputError, match="lile-tokens/9"):
        TokenStore([path])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda file: file.__delitem__("offsets"), "damaged"),
        (lambda file: file.__delitem__("ids"), "damaged"),
        (lambda file: file["offsets"].__setitem__(1, 0), "offsets do not cut"),
        (lambda file: file["offsets"].__setitem__(-1, 9999), "offsets do not cut"),
        (lambda file: file["tokens"].resize(3, axis=0), "offsets do not cut"),
        (lambda file: file.attrs.__setitem__("about", "{"), "damaged"),
        (lambda file: (file.__delitem__("ids"), file.create_dataset("ids", data=["a"])), "1 ids but"),
        (lambda file: (file.__delitem__("tokens"), file.create_dataset("tokens", data=np.zeros(250))), "float64"),
    ],
)
def test_parts_that_contradict_each_other(tmp_path, change, words):
    whole_file(tmp_path)
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        del file["sums"]  # as in a file from before there were sums
        change(file)
    with pytest.raises(InputError, match=words):
        TokenStore([tmp_path / "s.h5"])
