"""The compiled engine for CPUs: all pairs through ``native.cpp``, one block of images per thread.

Shapes: N images, M texts, r vectors of the longest item, d width; dp and rp as in ``native.cpp``.
"""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from lile.matching.compiler import Library
from lile.matching.config import MatchingConfig
from lile.matching.memory import GatedMemory
from lile.matching.sides import Side

if TYPE_CHECKING:
    from lile.matching.matcher import IterativeMatching

BLOCK_IMAGES = 16  # images and texts of one call: their packed vectors stay in the last level of cache
BLOCK_TEXTS = 16
CLIPS = ("relu", "leaky_relu_0.1", "none")


class _Side(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "yt", "gram", "length", "qh", "ch", "count")),
        ("r", ctypes.c_int64),
        ("rp", ctypes.c_int64),
    ]


class _Way(ctypes.Structure):
    _fields_ = [("asks", ctypes.c_int32), ("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p)]


class _Rule(ctypes.Structure):
    _fields_ = [
        ("dp", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("steps", "clip", "dot", "refined", "lse", "renormalise")),
        *((name, ctypes.c_float) for name in ("inverse_temperature", "lse_inverse_temperature")),
    ]


def cross_native(library: Library, matcher: IterativeMatching, images: Side, texts: Side) -> Tensor:
    """Return the cross terms [N, M] of Eq. 6, summed over both directions and the K steps, without a graph.

    Every score has the same bits in whatever call, block or thread it is computed.

    Args:
        library: the compiled code.
        matcher: holds the gates and the knobs.
        images: N items in float32 on the CPU.
        texts: M items, likewise.
    """
    config, steps = matcher.config, matcher.steps
    rule = _rule(library.lanes, matcher.width, steps, config)
    packed = [_packed(side, rule, library.lanes) for side in (images, texts)]
    ways = [
        _way(memory, asks, rule, library.lanes)
        for memory, asks in ((matcher.image_memory, config.image_asks), (matcher.text_memory, config.text_asks))
    ]
    scores_NM = torch.zeros(len(images), len(texts))
    structures = [*(p[0] for p in packed), *(w[0] for w in ways), rule]
    pointers = [ctypes.byref(structure) for structure in structures]
    at = ctypes.c_void_p(scores_NM.data_ptr())

    def work(block: tuple[int, int, int, int]) -> int:
        return int(library.cross(*pointers, *block, at, len(texts)))

    blocks = [
        (row, min(row + BLOCK_IMAGES, len(images)), column, min(column + BLOCK_TEXTS, len(texts)))
        for row in range(0, len(images), BLOCK_IMAGES)
        for column in range(0, len(texts), BLOCK_TEXTS)
    ]
    threads = min(torch.get_num_threads(), len(blocks))
    if threads <= 1:
        failed = any([work(block) for block in blocks])
    else:
        with ThreadPoolExecutor(threads) as pool:  # ctypes lets go of the interpreter while the code runs
            failed = any(list(pool.map(work, blocks)))
    if failed:
        raise MemoryError("scores: no memory for a thread's working space")
    return scores_NM


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


def _rule(lanes: int, width: int, steps: int, config: MatchingConfig) -> _Rule:
    return _Rule(
        dp=_up(width, 2 * lanes),
        steps=steps,
        clip=CLIPS.index(config.clip),
        dot=config.similarity == "dot",
        refined=config.score_operand == "refined",
        lse=config.aggregate == "lse",
        renormalise=config.renormalise,
        inverse_temperature=config.inverse_temperature,
        lse_inverse_temperature=config.lse_inverse_temperature,
    )


def _packed(side: Side, rule: _Rule, lanes: int) -> tuple[_Side, list[Tensor]]:
    """Return the structure and the tensors it points into, which must live as long."""
    side, count_N = _kept_first(side)
    N, r, d = side.vectors.shape
    rp = _up(r, lanes)
    panels = rule.dp // (2 * lanes)
    x = _in_panels(side.vectors, panels, 2 * lanes)
    yt = _zeros(N, rule.dp, rp)
    yt[:, :d, :r] = side.vectors.mT
    gram = _zeros(N, r, rp, dtype=torch.float64)
    gram[..., :r] = side.gram
    lengths = _zeros(N, rp).fill_(1.0)
    lengths[:, :r] = side.lengths
    halves = [
        None if half is None else torch.stack([_in_panels(h, panels, 2 * lanes) for h in half.chunk(2, dim=-1)], dim=3)
        for half in (side.query_half, side.context_half)
    ]
    tensors = [x, yt, gram, lengths, *halves, count_N]
    addresses = [None if t is None else t.data_ptr() for t in tensors]
    return _Side(*addresses, r, rp), [t for t in tensors if t is not None]


def _kept_first(side: Side) -> tuple[Side, Tensor]:
    """Return the side with the vectors that are there in front, and how many there are, int32 [N]."""
    N, r, _ = side.vectors.shape
    if side.keep is None:
        return side, torch.full((N,), r, dtype=torch.int32)
    order_Nr = (~side.keep).int().argsort(dim=1, stable=True)

    def sorted_rows(values: Tensor) -> Tensor:
        places = order_Nr.reshape(N, r, *(1 for _ in values.shape[2:]))
        return values.gather(1, places.expand_as(values))

    gram = sorted_rows(sorted_rows(side.gram).mT).mT
    halves = [None if half is None else sorted_rows(half) for half in (side.query_half, side.context_half)]
    moved = Side(sorted_rows(side.vectors), None, sorted_rows(side.lengths), gram, *halves)
    return moved, side.keep.sum(1, dtype=torch.int32)


def _in_panels(rows: Tensor, panels: int, panel: int) -> Tensor:
    """Return [N, panels, r, panel] from [N, r, d], with zeros after d."""
    N, r, d = rows.shape
    wide = rows if d == panels * panel else functional.pad(rows, (0, panels * panel - d))
    return _aligned(wide.reshape(N, r, panels, panel).transpose(1, 2))


def _way(memory: GatedMemory | None, asks: bool, rule: _Rule, lanes: int) -> tuple[_Way, list[Tensor]]:
    if memory is None or rule.steps < 3:
        return _Way(asks, None, None), []
    dp, panel = rule.dp, 2 * lanes
    weight, bias = memory.query_weights()
    missing = dp - memory.width
    # [2d, d] -> [dp / panel, 2, dp, panel]: for each panel of outputs the gate's and the update's columns
    padded = functional.pad(weight.reshape(2, memory.width, memory.width), (0, missing, 0, missing))
    packed = _aligned(padded.reshape(2, dp // panel, panel, dp).permute(1, 0, 3, 2))
    packed_bias = functional.pad(bias.reshape(2, memory.width), (0, missing)).reshape(2, dp // panel, panel)
    packed_bias = _aligned(packed_bias.transpose(0, 1))
    return _Way(asks, packed.data_ptr(), packed_bias.data_ptr()), [packed, packed_bias]


def _zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return zeros on a 64-byte boundary, as vector loads want them."""
    return _aligned(torch.zeros(shape, dtype=dtype))


def _aligned(values: Tensor) -> Tensor:
    values = values.contiguous()
    assert values.data_ptr() % 64 == 0 or not values.numel(), "torch aligns what it allocates to 64 bytes"
    return values
