"""The compiled engine for CPUs: all pairs through ``native.cpp``, one block of images and texts per thread.

Shapes: N images, M texts, d width; r, rp, dp and PANEL as in ``native_math.h``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from lile.matching.compiler import Library
from lile.matching.packed import Packed, packed_side, packed_way, rule_of
from lile.matching.sides import Side

if TYPE_CHECKING:
    from lile.matching.matcher import IterativeMatching

BLOCK = 16  # images and texts of one call: their packed vectors stay in the last level of cache
STRIPES = 4  # parts of the images whose gradients by the texts are summed apart: a constant, so that the sums are too

Piece = TypeVar("Piece")


def cross_native(library: Library, matcher: IterativeMatching, images: Side, texts: Side) -> Tensor:
    """Return the cross terms [N, M] of Eq. 6, summed over both directions and the K steps, without a graph.

    Every number has the same bits in whatever call, block or thread it is computed.

    Args:
        library: the compiled code.
        matcher: holds the gates and the knobs.
        images: N items in float32 on the CPU.
        texts: M items, likewise.
    """
    arguments, keep = _arguments(library, matcher, images, texts)
    scores_NM = torch.zeros(len(images), len(texts), dtype=torch.float32, device="cpu")
    at = ctypes.c_void_p(scores_NM.data_ptr())

    def work(block: tuple[int, int, int, int]) -> int:
        return int(library.cross(*arguments, *block, at, len(texts)))

    rows, columns = len(images), len(texts)
    _run(
        work,
        [
            (row, min(row + BLOCK, rows), column, min(column + BLOCK, columns))
            for row in range(0, rows, BLOCK)
            for column in range(0, columns, BLOCK)
        ],
    )
    del keep
    return scores_NM


def cross_gradient_native(
    library: Library, matcher: IterativeMatching, images: Side, texts: Side, weight_NM: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the gradients of ``sum(weight_NM * cross terms)`` by both sides' tensors, for K = 1 and 2.

    Pairs of weight zero cost nothing. The result does not depend on the number of threads.

    Args:
        library: the compiled code.
        matcher: holds the knobs; the gates are not read.
        images: N items in float32 on the CPU.
        texts: M items, likewise.
        weight_NM: the gradient by the cross terms.

    Returns:
        per side the gradients by vectors, lengths, gram, and with K = 2 query half and context half.
    """
    arguments, keep = _arguments(library, matcher, images, texts)
    packed_images, packed_texts, *_ = keep
    d_images = packed_images.gradient()
    stripes = [packed_texts.gradient() for _ in range(STRIPES)]
    weight_NM = weight_NM.float().contiguous()
    at = ctypes.c_void_p(weight_NM.data_ptr())

    def work(stripe: int) -> int:
        row0, row1 = (len(images) * s // STRIPES for s in (stripe, stripe + 1))
        gradients = ctypes.byref(d_images.structure), ctypes.byref(stripes[stripe].structure)
        return int(library.cross_gradient(*arguments, row0, row1, 0, len(texts), at, len(texts), *gradients))

    _run(work, range(STRIPES))
    for other in stripes[1:]:
        stripes[0].add(other)
    return d_images.unpacked(), stripes[0].unpacked()


def _arguments(
    library: Library, matcher: IterativeMatching, images: Side, texts: Side
) -> tuple[list[object], tuple[Packed, Packed, object]]:
    """Return the pointers of a call, and what they point into."""
    config = matcher.config
    rule = rule_of(library.lanes, matcher.width, matcher.steps, config)
    packed = packed_side(images, rule, library.lanes), packed_side(texts, rule, library.lanes)
    ways = [
        packed_way(memory, asks, rule, library.lanes)
        for memory, asks in ((matcher.image_memory, config.image_asks), (matcher.text_memory, config.text_asks))
    ]
    structures = [*(p.structure for p in packed), *(way[0] for way in ways), rule]
    return [ctypes.byref(structure) for structure in structures], (*packed, (ways, structures))


def _run(work: Callable[[Piece], int], pieces: Iterable[Piece]) -> None:
    """Do all pieces on as many threads as torch may use. ctypes lets go of the interpreter while the code runs."""
    pieces = list(pieces)
    threads = min(torch.get_num_threads(), len(pieces))
    if threads <= 1:
        failed = [work(piece) for piece in pieces]
    else:
        with ThreadPoolExecutor(threads) as pool:
            failed = list(pool.map(work, pieces))
    if any(failed):
        raise MemoryError("scores: no memory for a thread's working space")
