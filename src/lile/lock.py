"""One writer per folder of work: a lock file with a heartbeat, for two controllers that do not know of each other."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lile.errors import InputError

log = logging.getLogger(__name__)

BEAT_S = 20.0  # the holder touches the file this often
STALE_S = 180.0  # untouched for this long, the holder is taken for dead


@contextmanager
def work_lock(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` for the block.

    A lock left by a dead process is taken over: the process is gone from this host, or its heartbeat is older than
    ``STALE_S`` seconds.

    Raises:
        InputError: another live process works here; the message names host, process and age.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = _acquire(path)
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, stop), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        if _holder(path) == mine:  # else it was taken over while we were thought dead
            path.unlink(missing_ok=True)


def _acquire(path: Path) -> dict[str, Any]:
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "started_unix": time.time()}
    for _ in range(2):  # once more after a stale lock is removed
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            _remove_if_stale(path)
        else:
            with os.fdopen(handle, "w") as stream:
                json.dump(holder, stream)
            return holder
    raise InputError(f"{path}: another process took the lock at the same moment; start again when it has ended")


def _remove_if_stale(path: Path) -> None:
    try:
        age_s = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return
    holder = _holder(path)
    if age_s < STALE_S and not _is_gone(holder):
        raise InputError(
            f"{path}: it is being worked on by process {holder.get('pid', '?')} on {holder.get('host', '?')} "
            f"(last sign of life {age_s:.0f} s ago); wait for it, end it, or remove the file if it is not running"
        )
    path.unlink(missing_ok=True)


def _holder(path: Path) -> dict[str, Any]:
    """What the lock says of its holder; nothing where it is gone or was torn while being written."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_gone(holder: dict[str, Any]) -> bool:
    if holder.get("host") != socket.gethostname() or "pid" not in holder:
        return False
    try:
        os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(BEAT_S):
        try:
            os.utime(path)
        except FileNotFoundError:
            return
        except OSError as error:  # a hiccup of a shared disk: the next beat may reach it
            log.warning("%s: no heartbeat (%s)", path, error)
