"""A shard made in pieces: whoever is killed goes on after the last piece that was sealed.

Snakemake deletes a declared output when it starts a job again. The pieces, small shards themselves, therefore lie in a
folder that it does not know, and are joined at the end.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from lile.errors import InputError
from lile.features.shard import read_index
from lile.features.shard_reader import read_items
from lile.features.shard_writer import Item, write_store
from lile.lock import work_lock

log = logging.getLogger(__name__)


def write_in_segments(
    path: Path,
    count: int,
    items_of: Callable[[int, int], Iterable[Item]],
    *,
    work: Path | None,
    segment: int,
    about: dict[str, Any] | Callable[[], dict[str, Any]],
    counts: Callable[[], Mapping[str, int]] = dict,
    code: str | None = None,
    width: int | None = None,
) -> int:
    """Write one shard, keeping what is done when the process is killed; the file's bytes do not depend on that.

    Args:
        path: the shard; it appears only when everything is in it.
        count: of the items.
        items_of: ``(start, stop)`` yields items ``start`` to ``stop - 1`` in order, as
            :func:`lile.features.shard_writer.write_store` takes them. It may leave out an item that it cannot make.
        work: folder of the finished segments, named by the caller after all that the items depend on: config, code,
            and inside by the ids and files (:func:`lile.files.digest_of`). Removed at the end. ``None`` for one that
            does not outlive this call.
        segment: items of a segment: a multiple of the batch size, so that batches are the same however it went.
        about: who made the tokens: segments of another maker are not taken. Or a function that is asked at the end;
            it must not count, because earlier segments may be another process's work.
        counts: asked after each segment for what was counted in that segment alone. The sums over all segments are
            put into ``about``, whichever processes made them.
        code: fingerprint of the code, kept with the tokens.
        width: H; needed only where there may be no item.

    Returns:
        The number of items written.

    Raises:
        InputError: as ``write_store``, or another process is at work here.
        OSError: the disk is full. Sealed segments stay, and nothing half-written does.
    """
    assert segment > 0, segment
    maker = {} if callable(about) else json.loads(json.dumps(about, allow_nan=False))
    with _folder(work, path) as folder, work_lock(folder / "lock"):
        parts = _sealed_parts(folder, count, segment, items_of, maker, counts, code, width)
        total: Counter[str] = Counter()
        for part in parts:
            total.update(read_index(part).about["counts"])
        whole = {**(about() if callable(about) else about), **total}
        written = write_store(path, _joined(parts), whole, code=code, width=width)
        for part in parts:
            part.unlink()
    return written


def write_showing(
    path: Path, count: int, items_of: Callable[[int, int], Iterable[Item]], *, unit: str, **how: Any
) -> int:
    """Write one shard in segments, with a bar on a terminal and, at the end, a line of how fast it went.

    Args:
        path: the shard.
        count: of the items.
        items_of: see :func:`write_in_segments`.
        unit: what an item is called, in the plural.
        how: the rest of what :func:`write_in_segments` takes.

    Returns:
        The number of items written.

    Raises:
        InputError: as :func:`write_in_segments`.
        OSError: likewise.
    """
    started, made = time.perf_counter(), 0
    # disable=None: a bar for a person at a terminal, none in a log file.
    with tqdm(total=count, unit=f" {unit}", desc=path.name, disable=None) as bar:

        def shown(start: int, stop: int) -> Iterator[Item]:
            nonlocal made
            bar.update(start - bar.n)  # what an earlier run has done
            for item in items_of(start, stop):
                yield item
                made += 1
                bar.update()

        written = write_in_segments(path, count, shown, **how)
    seconds = max(time.perf_counter() - started, 1e-9)
    # `lile check` reads how many were made now from this line (lile.checks.times).
    log.info("%s: %d %s, %d of them now in %.1f s, %.2f per second", path, written, unit, made, seconds, made / seconds)
    return written


@contextmanager
def _folder(work: Path | None, path: Path) -> Iterator[Path]:
    """Give the folder of the segments; at the end remove it, and the one around it if that held nothing else."""
    if work is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", ignore_cleanup_errors=True) as passing:
            yield Path(passing)
        return
    yield work
    for folder in (work, work.parent):
        with suppress(OSError):
            folder.rmdir()


def _sealed_parts(
    work: Path,
    count: int,
    segment: int,
    items_of: Callable[[int, int], Iterable[Item]],
    maker: dict[str, Any],
    counts: Callable[[], Mapping[str, int]],
    code: str | None,
    width: int | None,
) -> list[Path]:
    """Make the segments that are not there yet, and return all."""
    bounds = [(start, min(start + segment, count)) for start in range(0, count, segment)]
    parts = [work / f"{start:09d}-{stop:09d}.h5" for start, stop in bounds]
    kept = _kept(work, parts, maker)
    if kept:
        log.info("%s: %d of %d segments are there from an earlier run", work, len(kept), len(parts))
    for part, (start, stop) in zip(parts, bounds, strict=True):
        if part not in kept:
            about = {"maker": maker, "counts": {}}
            write_store(part, _then(items_of(start, stop), about, counts), about, code=code, width=width)
    return parts


def _then(items: Iterable[Item], about: dict[str, Any], counts: Callable[[], Mapping[str, int]]) -> Iterator[Item]:
    """Yield the items, then note in ``about`` what was counted meanwhile."""
    yield from items
    about["counts"] = dict(counts())


def _kept(work: Path, parts: Sequence[Path], maker: dict[str, Any]) -> set[Path]:
    """Return the segments that are there and as they were written; whatever else lies in the folder is removed."""
    kept = set()
    for found in sorted(work.glob("*.h5")) + sorted(work.glob(".*.part")):
        if found in parts and _is_whole(found, maker):
            kept.add(found)
        else:
            found.unlink()
    return kept


def _is_whole(part: Path, maker: dict[str, Any]) -> bool:
    try:
        if read_index(part).about.get("maker") != maker:
            return False
        for _ in read_items(part):
            pass
    except InputError as error:
        log.warning("made again: %s", error)
        return False
    return True


def _joined(parts: Iterable[Path]) -> Iterator[Item]:
    for part in parts:
        yield from read_items(part)
