"""One writer per fold."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from lile.errors import InputError
from lile.lock import STALE_S, work_lock


def test_a_second_writer_is_refused_and_the_lock_goes_with_its_holder(tmp_path):
    path = tmp_path / "fold" / "lock"
    with work_lock(path):
        with pytest.raises(InputError, match=f"process {os.getpid()}"), work_lock(path):
            pass
        assert path.exists()
    assert not path.exists()


def test_a_dead_process_s_lock_is_taken_over(tmp_path):
    path = tmp_path / "lock"
    holder = "json.dumps({'host': socket.gethostname(), 'pid': os.getpid()})"
    code = f"import json, os, socket, sys, pathlib; pathlib.Path(sys.argv[1]).write_text({holder})"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    with work_lock(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_another_host_counts_as_alive_until_its_heartbeat_stops(tmp_path):
    path = tmp_path / "lock"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    with pytest.raises(InputError, match="elsewhere"), work_lock(path):
        pass
    old = path.stat().st_mtime - STALE_S - 1
    os.utime(path, (old, old))
    with work_lock(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_torn_lock_goes_stale_and_a_lock_taken_over_is_left_to_its_holder(tmp_path):
    path = tmp_path / "lock"
    path.write_text('{"host": "el')
    old = path.stat().st_mtime - STALE_S - 1
    os.utime(path, (old, old))
    with work_lock(path):
        path.write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    assert json.loads(path.read_text())["host"] == "elsewhere"
