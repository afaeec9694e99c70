"""Shards made in segments: whatever happened on the way, the same file at the end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lile.errors import InputError
from lile.features import segments
from lile.features.segments import write_in_segments
from lile.features.shard_reader import read_items
from lile.features.shard_writer import Item, write_store
from lile.features.store import TokenStore
from lile.lock import work_lock

ABOUT = {"library": "tests", "weights_digest": "aaaa"}
WIDTH = 3


class Killed(BaseException):
    """Stands for the end of the process: no `except Exception` stops it."""


class Source:
    """Items as an encoder would make them; dies at an item if told to, and counts odd ones."""

    def __init__(self, count: int, boxes: bool = False, die_at: int | None = None) -> None:
        rng = np.random.default_rng(7)
        self.items: list[Item] = []
        for k in range(count):
            tokens = rng.normal(size=(1 + k % 4, WIDTH))
            self.items.append(
                (f"i{k}", tokens, np.tile([0.1, 0.2, 0.3, 0.4], (len(tokens), 1))) if boxes else (f"i{k}", tokens)
            )
        self.die_at, self.made, self.odd = die_at, [], 0

    def __call__(self, start: int, stop: int) -> Iterator[Item]:
        self.odd = 0
        for k in range(start, stop):
            if k == self.die_at:
                raise Killed
            self.odd += k % 2
            self.made.append(k)
            yield self.items[k]

    def counts(self) -> dict[str, int]:
        return {"odd": self.odd}


def written(folder: Path, source: Source, segment: int = 4) -> bytes:
    path = folder / "out" / "shard-0.h5"
    facts = {"work": folder / "work" / "x" / "y", "segment": segment, "about": ABOUT, "width": WIDTH}
    assert write_in_segments(path, len(source.items), source, counts=source.counts, code="c0de", **facts) == len(
        source.items
    )
    assert not (folder / "work" / "x").exists()
    assert [found.name for found in path.parent.iterdir()] == ["shard-0.h5"]
    return path.read_bytes()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(0, 23),
    segment=st.integers(1, 9),
    boxes=st.booleans(),
    deaths=st.lists(st.floats(0, 1, exclude_max=True), max_size=4).map(sorted),
)
def test_any_interruptions_end_with_the_same_bytes(tmp_path_factory, count, segment, boxes, deaths):
    undisturbed = written(tmp_path_factory.mktemp("a"), Source(count, boxes), segment)
    folder = tmp_path_factory.mktemp("b")
    furthest = 0
    for death in [int(share * count) for share in deaths] if count else []:
        source = Source(count, boxes, die_at=death)
        with pytest.raises(Killed):
            written(folder, source, segment)
        assert not (folder / "out").exists()
        # Whoever died left whole segments for good: none of their items is made again.
        assert source.made == list(range(furthest, death))
        furthest = death // segment * segment
    last = Source(count, boxes)
    assert written(folder, last, segment) == undisturbed
    assert last.made == list(range(furthest, count))


def test_a_kill_while_segments_are_joined_costs_no_segment(tmp_path, monkeypatch):
    undisturbed = written(tmp_path / "a", Source(14))

    def dies(parts: Iterable[Path]) -> Iterator[Item]:
        yield from read_items(next(iter(parts)))
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(segments, "_joined", dies)
        with pytest.raises(Killed):
            written(tmp_path, Source(14))
    assert list((tmp_path / "out").iterdir()) == []
    source = Source(14)
    assert written(tmp_path, source) == undisturbed
    assert source.made == []


def test_the_file_holds_the_items_and_the_counts_of_all_processes(tmp_path):
    with pytest.raises(Killed):
        written(tmp_path, Source(11, die_at=9))
    source = Source(11)
    written(tmp_path, source)
    assert source.made == [8, 9, 10]
    write_store(tmp_path / "direct.h5", Source(11).items, {**ABOUT, "odd": 5}, code="c0de")
    found, expected = TokenStore([tmp_path / "out" / "shard-0.h5"]), TokenStore([tmp_path / "direct.h5"])
    assert found.about == expected.about
    assert found.ids == expected.ids
    np.testing.assert_array_equal(found.read(np.arange(11))[0], expected.read(np.arange(11))[0])


def cut(part: Path) -> None:
    part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])


def flip(part: Path) -> None:
    with h5py.File(part) as file:
        place = []
        file["tokens"].id.chunk_iter(lambda chunk: place.append(chunk.byte_offset))
    content = bytearray(part.read_bytes())
    content[place[0] + 3] ^= 1
    part.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, lambda part: part.write_bytes(b""), Path.unlink])
def test_a_damaged_segment_is_made_again_and_the_others_are_not(tmp_path, damage: Callable[[Path], None], caplog):
    undisturbed = written(tmp_path / "a", Source(14))
    with pytest.raises(Killed):
        written(tmp_path, Source(14, die_at=12))
    damage(tmp_path / "work" / "x" / "y" / "000000004-000000008.h5")
    source = Source(14)
    assert written(tmp_path, source) == undisturbed
    assert source.made == [4, 5, 6, 7, 12, 13]
    assert ("made again" in caplog.text) == (damage is not Path.unlink)


def test_segments_of_another_size_are_not_taken(tmp_path):
    undisturbed = written(tmp_path / "a", Source(14), segment=3)
    with pytest.raises(Killed):
        written(tmp_path, Source(14, die_at=12), segment=4)
    source = Source(14)
    assert written(tmp_path, source, segment=3) == undisturbed
    assert source.made == list(range(14))


def test_segments_of_another_maker_are_not_taken(tmp_path):
    with pytest.raises(Killed):
        written(tmp_path, Source(14, die_at=12))
    source = Source(14)
    facts = {"work": tmp_path / "work" / "x" / "y", "segment": 4, "width": WIDTH}
    write_in_segments(tmp_path / "s.h5", 14, source, about={**ABOUT, "weights_digest": "bbbb"}, **facts)
    assert source.made == list(range(14))
    assert TokenStore([tmp_path / "s.h5"]).about["weights_digest"] == "bbbb"


def test_without_a_folder_nothing_outlives_the_call(tmp_path):
    with pytest.raises(Killed):
        write_in_segments(tmp_path / "s.h5", 9, Source(9, die_at=8), work=None, segment=2, about=ABOUT)
    assert list(tmp_path.iterdir()) == []
    assert write_in_segments(tmp_path / "s.h5", 9, Source(9), work=None, segment=2, about=ABOUT) == 9
    assert [found.name for found in tmp_path.iterdir()] == ["s.h5"]


def test_a_function_of_the_end_and_items_left_out(tmp_path):
    source = Source(9)
    facts = {"work": tmp_path / "w", "segment": 2, "about": lambda: {**ABOUT, "late": True}, "width": WIDTH}
    count = write_in_segments(
        tmp_path / "s.h5", 9, lambda start, stop: (i for i in source(start, stop) if i[0] > "i3"), **facts
    )
    store = TokenStore([tmp_path / "s.h5"])
    assert count == 5
    assert store.ids == ["i4", "i5", "i6", "i7", "i8"]
    assert store.about == {**ABOUT, "late": True}


def test_two_processes_do_not_work_on_one_shard(tmp_path):
    with work_lock(tmp_path / "work" / "x" / "y" / "lock"), pytest.raises(InputError, match="being worked on"):
        written(tmp_path, Source(3))


def test_an_id_in_two_segments_is_refused(tmp_path):
    source = Source(9)
    source.items[7] = source.items[1]
    with pytest.raises(InputError, match=r"'i1'.*unique"):
        written(tmp_path, source)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("limit", [2_500_000, 5_000_000])
def test_a_full_disk_leaves_sealed_segments_and_no_half_file(tmp_path, limit):
    """A limit on a file's size strikes as a full disk does: in a segment (2.5 MB), or in the join of four (5 MB)."""
    script = f"""
import resource, signal
from pathlib import Path
import h5py, numpy as np
from lile.features import segments
from lile.features.segments import write_in_segments
from lile.features.shard_reader import read_items
block = np.ones((100, 64), dtype=np.float16)
sizes = [50, 50, 200, 50]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
def items_of(start, stop):
    for k in range(start, stop):
        yield str(k), np.repeat(block, 4 if {limit} < 3_000_000 and 100 <= k < 150 else 1, axis=0)
try:
    write_in_segments(Path({str(tmp_path / "out" / "s.h5")!r}), 1000, items_of, work=Path({str(tmp_path / "work")!r}),
                      segment=50, about={{}})
except OSError as error:
    print("refused:", error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("refused:"), done
    assert done.returncode == 0, done
    sealed = sorted(found.name for found in (tmp_path / "work").iterdir())
    if limit < 3_000_000:
        assert sealed == ["000000000-000000050.h5", "000000050-000000100.h5"]
        assert not (tmp_path / "out").exists()
    else:
        assert len(sealed) == 20
        assert list((tmp_path / "out").iterdir()) == []
