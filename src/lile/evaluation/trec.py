"""Run and qrels files in TREC's form, from which other tools (trec_eval, ranx) compute the figures again.

Eight files: ``{own,group}.{i2t,t2i}.{run,qrels}.gz``. A line of a run is ``query Q0 item place score name``, of a
qrels file ``query 0 item 1``. Queries and items are image and description ids.

The order of a run is that of our figures: of equal scores, what is not relevant stands first. Other tools sort by the
score and break ties their own way, so a run's scores fall strictly: where one would not, it is lowered to the next
number of single precision (trec_eval reads no other) below the one before it.

Shapes: Q queries of a batch, G gallery items, K items of one list.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

import numpy as np

from lile.evaluation.grid import Scores
from lile.evaluation.lists import query_lists
from lile.evaluation.relevance import DIRECTIONS, PROTOCOLS, Relevance, relevant_items
from lile.files import replacing

_BREAKS_A_LINE = re.compile(r"[\s%\x00-\x1f\x7f]")


@dataclass(frozen=True)
class RunNames:
    """What the files call things."""

    image_ids: Sequence[str]
    """Of the rows of the scores."""
    description_ids: Sequence[str]
    """In the order of the relevance."""
    run: str
    """The last word of each line of a run: the model."""


def write_trec(folder: Path, scores: Scores, relevance: Relevance, names: RunNames, depth: int | None) -> None:
    """Write all run and qrels files of a fold; the same scores give the same bytes.

    Args:
        folder: is made where missing. Run and qrels files of an earlier depth are replaced or removed.
        scores: finite scores, read block by block.
        relevance: of the same images and descriptions.
        names: ids and the model's name. White space and ``%`` in them are written as ``%20``, ``%25`` and so on.
        depth: number of items of each list that a run keeps; None for all of them, 0 for no files at all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in PROTOCOLS:
        for way in DIRECTIONS:
            for kind in ("run", "qrels"):
                (folder / f"{name}.{way}.{kind}.gz").unlink(missing_ok=True)
    if depth == 0:
        return
    ids, (run,) = {"i2t": ids_of(names.image_ids), "t2i": ids_of(names.description_ids)}, ids_of([names.run])
    for way, other in (DIRECTIONS, DIRECTIONS[::-1]):
        related = {name: relevant_items(relevance, name, way) for name in PROTOCOLS}
        for name, items in related.items():
            with _gzipped(folder / f"{name}.{way}.qrels.gz") as file:
                _write_qrels(file, ids[way], ids[other], items)
        with ExitStack() as stack:
            files = {name: stack.enter_context(_gzipped(folder / f"{name}.{way}.run.gz")) for name in PROTOCOLS}
            for queries, scores_QG in query_lists(scores, relevance, way):
                for query, scores_G in zip(queries, scores_QG, strict=True):
                    for name, file in files.items():
                        items_K = first_items(scores_G, related[name][query], depth)
                        found = ids[other][items_K].tolist(), strictly_falling(scores_G[items_K]).tolist()
                        _write_list(file, ids[way][query], *found, run)


def ids_of(names: Sequence[str]) -> np.ndarray:
    """Return ids that fit between the blanks of a line, different where the names are, as an array of ``str``."""
    kept = [_BREAKS_A_LINE.sub(lambda found: quote(found[0], safe=""), name) for name in names]
    array = np.empty(len(kept), dtype=object)
    array[:] = kept
    return array


def first_items(scores_G: np.ndarray, right_r: np.ndarray, depth: int | None) -> np.ndarray:
    """Return the first ``depth`` items of a query's list, best first; of equal scores, what is not relevant first.

    Args:
        scores_G: of the gallery.
        right_r: places of the relevant items in it.
        depth: how many are wanted; None for all.
    """
    if depth is None or depth >= len(scores_G):
        candidates = np.arange(len(scores_G))
    else:
        lowest = np.partition(scores_G, len(scores_G) - depth)[len(scores_G) - depth]
        candidates = np.flatnonzero(scores_G >= lowest)
    order = np.lexsort((np.isin(candidates, right_r), -scores_G[candidates]))
    return candidates[order][:depth]


def strictly_falling(scores_K: np.ndarray) -> np.ndarray:
    """Return float32 scores [K] as near to those given as they can be if each is below the one before.

    Args:
        scores_K: finite, never rising.
    """
    bits = (scores_K.astype(np.float32) + np.float32(0.0)).view(np.int32).astype(np.int64)  # + 0 makes -0 a 0
    steps = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)  # numbers of single precision, counted from 0
    place = np.arange(len(steps))
    steps = np.minimum.accumulate(steps + place) - place
    bits = np.where(steps < 0, 0x80000000 - steps, steps)
    return bits.astype(np.uint32).view(np.float32)


def _write_list(file: TextIO, query: str, items: list[str], scores: list[float], run: str) -> None:
    lines = zip(items, range(1, len(items) + 1), scores, strict=True)
    file.writelines(f"{query} Q0 {item} {place} {score:.9g} {run}\n" for item, place, score in lines)


def _write_qrels(file: TextIO, queries: np.ndarray, items: np.ndarray, related: Sequence[np.ndarray]) -> None:
    for query, places in zip(queries, related, strict=True):
        file.writelines(f"{query} 0 {item} 1\n" for item in items[places])


@contextmanager
def _gzipped(path: Path) -> Iterator[TextIO]:
    """Open a compressed text file for writing; it takes its name when it is whole, and holds no name and no time."""
    with (
        replacing(path) as part,
        part.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as packed,
        TextIOWrapper(packed, encoding="utf-8", newline="\n") as file,
    ):
        yield file
