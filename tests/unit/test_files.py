"""A file is whole or not there, whatever happens while it is written."""

from __future__ import annotations

import errno
import json

import pandas as pd
import pytest

from lile.files import digest_of, replacing, sha256_of, write_csv, write_json, write_text


def test_a_failed_write_keeps_the_older_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "table.csv"
    write_text(path, "old\n")

    def fill_up():
        with replacing(path) as part:
            part.write_text("half of it")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fill_up()
    assert path.read_text() == "old\n"
    assert [found.name for found in path.parent.iterdir()] == ["table.csv"]


def test_nothing_appears_before_the_block_has_ended(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as part:
        part.write_text("whole")
        assert part.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_is_an_error_not_an_empty_file(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_json_has_sorted_keys_and_no_word_for_nan(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": "ü", "a": 1})
    assert path.read_text(encoding="utf-8") == '{\n  "a": 1,\n  "b": "ü"\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": 1, "b": "ü"}


def test_csv_has_plain_line_ends_and_no_index(tmp_path):
    write_csv(tmp_path / "a.csv", pd.DataFrame({"x": ["a,b", 'say "c"']}))
    assert (tmp_path / "a.csv").read_bytes() == b'x\n"a,b"\n"say ""c"""\n'


def test_digests_name_bytes_and_values(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})
    assert len(digest_of(None)) == 16
