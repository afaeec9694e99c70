"""The grid covers every pair once however it is shared; a block is on disk whole or computed again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lile.errors import InputError
from lile.evaluation.blocks import BlockStore
from lile.evaluation.grid import Grid, Matrix, check_finite


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(1, 30))
@settings(max_examples=150, deadline=None)
def test_shares_cover_every_pair_once_with_the_blocks_of_the_whole(images, texts, size, shares):
    grid = Grid(images, texts, size)
    parts = [grid.share(share, shares) for share in range(shares)]
    assert [block for part in parts for block in part] == list(grid)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    seen = np.zeros((images, texts), dtype=int)
    for block in grid:
        assert seen[block.rows, block.columns].shape == block.shape
        assert 1 <= block.pairs <= size * size
        seen[block.rows, block.columns] += 1
    assert (seen == 1).all()


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 7), st.data())
@settings(max_examples=100, deadline=None)
def test_the_blocks_within_an_area_are_those_that_share_a_pair_with_it(images, texts, size, data):
    grid = Grid(images, texts, size)
    first, column = data.draw(st.integers(0, images - 1)), data.draw(st.integers(0, texts - 1))
    rows = slice(first, data.draw(st.integers(first + 1, images)))
    columns = slice(column, data.draw(st.integers(column + 1, texts)))
    asked = np.zeros((images, texts), dtype=bool)
    asked[rows, columns] = True
    expected = [block for block in grid if asked[block.rows, block.columns].any()]
    assert list(grid.within(rows, columns)) == expected


def test_the_grid_depends_on_the_numbers_of_items_alone():
    assert [(block.rows, block.columns) for block in Grid(1025, 1)] == [
        (slice(0, 1024), slice(0, 1)),
        (slice(1024, 1025), slice(0, 1)),
    ]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: Grid(4, 6, 2).block(6), "index=6: 4 x 6 scores have blocks 0 to 5 of 2 x 2"),
        (lambda: Grid(4, 6, 2).block(-1), "index=-1"),
        (lambda: Grid(4, 6, 2).share(3, 3), "share=3: 3 share"),
        (lambda: Grid(4, 6, 2).share(-1, 3), "share=-1"),
        (lambda: Grid(4, 6, 2).share(0, 0), "shares=0"),
        (lambda: Grid(0, 6), "images=0"),
        (lambda: Grid(4, 0), "texts=0"),
        (lambda: Grid(4, 6, 0), "size=0"),
    ],
)
def test_what_there_is_not_is_named(ask, message):
    with pytest.raises(InputError, match=message):
        ask()


@pytest.fixture
def scores():
    return np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)


def filled(folder, scores, archives=()) -> BlockStore:
    store = BlockStore(folder, Grid(*scores.shape, 3), archives)
    for block in store.grid:
        store.write(block, scores[block.rows, block.columns])
    return store


def test_a_block_is_kept_bit_by_bit_and_removed(scores, tmp_path):
    store = filled(tmp_path / "work" / "d1", scores)
    assert all(store.holds(block) for block in store.grid)
    for block in store.grid:
        np.testing.assert_array_equal(store.read(block), Matrix(scores).read(block), strict=True)
    (store.folder / ".block-0-0.npy.123.part").write_bytes(b"left by a killed process")
    store.remove()
    assert list((tmp_path / "work").iterdir()) == []
    assert not any(store.holds(block) for block in store.grid)


@pytest.mark.parametrize("harm", ["cut", "empty", "nan", "shape", "kind", "noise", "pickle"])
def test_a_damaged_block_is_computed_again(scores, tmp_path, harm):
    store = filled(tmp_path / "d1", scores)
    block = store.grid.block(1)
    path = store.folder / block.name
    if harm in ("cut", "empty", "noise"):
        content = path.read_bytes()
        path.write_bytes({"cut": content[:-4], "empty": b"", "noise": b"\0" * len(content)}[harm])
    elif harm == "pickle":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    else:
        bad = {"nan": np.full(block.shape, np.nan, np.float32), "shape": np.zeros((1, 1), np.float32)}
        np.save(path, bad.get(harm, np.zeros(block.shape)))
    assert [store.holds(b) for b in store.grid] == [index != 1 for index in range(len(store.grid))]


def test_packed_blocks_are_found_by_the_evaluation_they_belong_to(scores, tmp_path):
    store = filled(tmp_path / "share" / "d1", scores)
    parts = [store.grid.share(share, 2) for share in (0, 1)]
    archives = [tmp_path / f"{share}.npz" for share in (0, 1)]
    for archive, part in zip(archives, parts, strict=True):
        store.pack(archive, part)
    whole = BlockStore(tmp_path / "d1", store.grid, archives)
    half = BlockStore(tmp_path / "d1", store.grid, archives[1:])
    other = BlockStore(tmp_path / "d2", store.grid, archives)
    assert all(whole.holds(block) for block in store.grid)
    assert [block for block in store.grid if half.holds(block)] == parts[1]
    assert not any(other.holds(block) for block in store.grid)
    for block in store.grid:
        np.testing.assert_array_equal(whole.read(block), scores[block.rows, block.columns], strict=True)


def test_an_archive_hurt_inside_is_noticed_and_so_is_one_that_is_none(scores, tmp_path):
    store, archive = filled(tmp_path / "share" / "d1", scores), tmp_path / "0.npz"
    store.pack(archive, list(store.grid))
    content = bytearray(archive.read_bytes())
    content[content.index(scores[0, 0].tobytes())] ^= 1
    archive.write_bytes(content)
    hurt = BlockStore(tmp_path / "d1", store.grid, [archive])
    assert [hurt.holds(block) for block in store.grid] == [False] + [True] * (len(store.grid) - 1)
    archive.write_bytes(b"no zip")
    hurt = BlockStore(tmp_path / "d1", store.grid, [archive, tmp_path / "gone.npz"])
    assert not any(hurt.holds(block) for block in store.grid)


def test_a_score_that_is_not_finite_names_its_pair():
    scores = np.zeros((2, 3), dtype=np.float32)
    scores[1, 2] = np.inf
    images, texts = [f"i{n}" for n in range(5)], [f"t{n}" for n in range(6)]
    with pytest.raises(InputError, match="image 'i1' and text 't2' is inf"):
        check_finite(scores, images, texts)
    with pytest.raises(InputError, match="image 'i4' and text 't5' is inf"):
        check_finite(scores, images, texts, Grid(5, 6, 3).block(3))
