"""S of all pairs on several devices at once: blocks of rows, one thread a device.

Shapes: N images, M texts, r vectors of the longest item, d width.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from threading import Event
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lile.errors import InputError
from lile.matching.items import checked_items

if TYPE_CHECKING:
    from lile.matching.matcher import IterativeMatching

BLOCKS = 16
"""Blocks of rows, whatever the number of devices: matrix products of another size may differ in the last bit."""


def scores_on_devices(
    matcher: IterativeMatching,
    images: Tensor,
    texts: Tensor,
    devices: Sequence[str | torch.device],
    image_keep: Tensor | None = None,
    text_keep: Tensor | None = None,
) -> Tensor:
    """Return S [N, M] on the CPU, without a gradient: :meth:`IterativeMatching.scores` over several devices.

    Devices of one kind give the same numbers to the last bit however many they are. A device that is done with a
    block takes the next, so a slower one takes fewer.

    Args:
        matcher: is copied to each device.
        images: image vectors [N, r, d], anywhere.
        texts: text vectors [M, r, d], anywhere; each device holds all of them.
        devices: names as ``cuda:0``; one may be named twice.
        image_keep: [N, r], see :meth:`IterativeMatching.scores`.
        text_keep: [M, r].

    Raises:
        InputError: no device, one that is not there, or what :meth:`IterativeMatching.scores` refuses.
    """
    found = [_checked_device(device) for device in devices]
    if not found:
        raise InputError("devices is empty: name at least one, such as 'cpu' or 'cuda:0'")
    for name, vectors, keep in (("images", images, image_keep), ("texts", texts, text_keep)):
        checked_items(name, vectors, keep, matcher.width)  # here, where an item's number is still its own
    kind = torch.promote_types(torch.promote_types(images.dtype, texts.dtype), torch.float32)
    scores_NM = torch.empty(len(images), len(texts), dtype=kind)
    blocks: SimpleQueue[slice] = SimpleQueue()
    size = max(1, -(-len(images) // BLOCKS))
    for start in range(0, len(images), size):
        blocks.put(slice(start, start + size))
    failed = Event()

    def work(device: torch.device) -> None:
        try:
            mine = copy.deepcopy(matcher).to(device)
            w, w_keep = texts.to(device), None if text_keep is None else text_keep.to(device)
            while not failed.is_set():
                rows = blocks.get_nowait()
                keep = None if image_keep is None else image_keep[rows].to(device)
                scores_NM[rows] = mine.scores(images[rows].to(device), w, keep, w_keep).cpu()
        except Empty:
            return
        except BaseException:
            failed.set()  # the others need not finish
            raise

    # Threads start with gradients enabled, and the matcher's own copy would be asked for one.
    with ThreadPoolExecutor(len(found), thread_name_prefix="lile-device") as pool:
        done = [pool.submit(torch.no_grad()(work), device) for device in found]
    for future in done:
        future.result()
    return scores_NM


def _checked_device(name: str | torch.device) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # PyTorch raises any of these
        reason = str(error).splitlines()[0]
        raise InputError(f"devices: {str(name)!r} cannot be used here ({reason}); name one such as 'cpu'") from None
    return device
