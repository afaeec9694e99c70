"""What names a fold's inputs: a store by its index, in which each item's sum stands, any other file by its bytes."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from lile.errors import InputError
from lile.evaluation.inputs import digests_of
from lile.features.shard_writer import write_store
from lile.files import sha256_of

ABOUT = {"library": "tests", "weights_digest": "aaaa"}


def digest(path: Path, change: float = 0.0, about: dict | None = None, name: str = "b", boxes: float = 0.5) -> str:
    tokens = np.ones((3, 4))
    tokens[1, 2] += change
    corners = np.full((3, 4), boxes)
    write_store(path, [("a", np.zeros((1, 4)), corners[:1]), (name, tokens, corners)], about or ABOUT)
    return digests_of([path])[str(path)]


def test_a_store_is_named_by_its_content(tmp_path):
    first = digest(tmp_path / "first.h5")
    assert digest(tmp_path / "second.h5") == first, "wherever it lies, whenever it was made"
    others = [
        digest(tmp_path / "tokens.h5", change=2**-9),
        digest(tmp_path / "boxes.h5", boxes=0.25),
        digest(tmp_path / "names.h5", name="c"),
        digest(tmp_path / "about.h5", about={**ABOUT, "weights_digest": "bbbb"}),
    ]
    assert len({first, *others}) == 5


def test_a_store_without_sums_and_any_other_file_are_named_by_their_bytes(tmp_path):
    digest(tmp_path / "old.h5")
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        del file["sums"]
    (tmp_path / "images.csv").write_text("image_id\n")
    paths = [tmp_path / "old.h5", tmp_path / "images.csv"]
    assert digests_of(paths) == {str(path): sha256_of(path) for path in paths}


def test_a_store_that_is_cut_off_is_named(tmp_path):
    digest(tmp_path / "cut.h5")
    content = (tmp_path / "cut.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"cut\.h5: cut off"):
        digests_of([tmp_path / "cut.h5"])
