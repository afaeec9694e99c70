"""Shares a table among jobs, and keeps a device busy: work is prepared ahead of it and fetched one batch behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from lile.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
R = TypeVar("R")

UNDECODABLE = (OSError, ValueError, SyntaxError)
"""What Pillow raises on damaged files."""


def best_device() -> torch.device:
    """Return the CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def share_of(table: pd.DataFrame, shard: int, shards: int) -> pd.DataFrame:
    """Return the rows of a shard: of N shards, shard k has rows k, k + N, k + 2 N, ...

    Raises:
        InputError: the shard does not exist.
    """
    if not 0 <= shard < shards:
        raise InputError(f"shard {shard} of {shards} does not exist: shards are counted from 0")
    return table.iloc[shard::shards]


def undecodable(path: str, error: BaseException | str) -> InputError:
    """Return the error for a picture that cannot be decoded."""
    return InputError(
        f"{path}: cannot be decoded ({error}). Set `verify: decode` for this dataset: the data stage then opens "
        f"every image fully, drops such ones and lists them in its report"
    )


def ahead_of(work: Callable[[T], R], items: Sequence[T], threads: int, ahead: int) -> Iterator[R]:
    """Yield ``work`` of each item in order, computed by threads, at most ``ahead`` results in memory.

    Raises:
        Exception: what ``work`` raised, when its item's turn comes; what waits behind it is given up.
    """
    pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="ahead")
    futures: deque[Future[R]] = deque()
    try:
        for item in items:
            futures.append(pool.submit(work, item))
            if len(futures) >= ahead:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def one_behind(batches: Iterable[T]) -> Iterator[T]:
    """Yield each batch once the next one has been started: a GPU computes that while this one is written."""
    waiting: deque[T] = deque()
    for batch in batches:
        waiting.append(batch)
        if len(waiting) > 1:
            yield waiting.popleft()
    yield from waiting


def to_host(tokens: Tensor) -> Callable[[], np.ndarray]:
    """Start copying ``tokens`` to the CPU as float16; the returned function waits for that copy alone.

    What does not fit float16 becomes infinite; the store refuses it by name.
    """
    host = tokens.to(torch.float16).to("cpu", non_blocking=True)
    if not tokens.is_cuda:
        return host.numpy
    # Waiting for the stream instead would wait for the next batch too, which is under way by then.
    copied = torch.cuda.Event()
    copied.record()

    def wait() -> np.ndarray:
        copied.synchronize()
        return host.numpy()

    return wait
