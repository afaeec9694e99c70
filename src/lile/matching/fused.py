"""All pairs on an NVIDIA GPU: one Triton kernel per direction, no tensor of width d per pair in the device's memory.

K = 1 and K = 2 only. From K = 3 on the query half of the gate is a d x d product per pair and step; it outweighs all
else, and large matrix products, as the eager tiles make them, are the right tool for it.

Where it differs from the eager tiles: the length of an attended vector is taken in the coordinates of a Cholesky
factor of the item's own inner products (computed in float64, once per item), ``|alpha L|`` with ``C = L L^T``. That is
as exact in float32 as forming the vector itself, and costs r x r instead of r x d. Vectors that are not kept are packed
away, and items are grouped by their number of vectors, so that short ones do not pay for the longest.

Both directions are separate launches that each compute the Gram block, an eighth of the matrix work of K = 2: the
special-function units bound the kernel, not the matrix units (see :mod:`lile.matching.roofline`).

Shapes: N images, M texts, n items of a group, r vectors of the longest item, R the same padded to a power of two that
is at least 16, d width, D the same padded to a multiple of 64.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from lile.errors import InputError
from lile.matching.config import SLOPES, MatchingConfig
from lile.matching.items import kept_first
from lile.matching.sides import Side, length

if TYPE_CHECKING:
    from lile.matching.matcher import IterativeMatching

log = logging.getLogger(__name__)

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
MOST_STEPS = 2
LEAST_ROWS, MOST_ROWS = 16, 64  # of an item in the kernel: the matrix units take no fewer, registers hold no more
WIDTH = 64  # the width is padded to a multiple of this
OLDEST = (8, 0)  # compute capability: bfloat16 on the matrix units
CHUNK_FLOATS = 1 << 26  # float64 numbers at a time while inner products are computed: 512 MiB


@dataclass(frozen=True)
class Tiling:
    """How pairs are laid out on the device."""

    query_rows: int = 64
    """Query vectors of one program, over one or several items."""
    context_rows: int = 64
    """Context vectors of one program."""
    columns: int = 32
    """Columns of the width at a time."""
    group: int = 16
    """Query tiles that run together against all contexts."""
    warps: int = 4
    stages: int = 3
    """Loads in flight."""


# Read off the compiler's report for Hopper, not timed: the largest tiles whose inner loops keep to their registers.
# Shared memory stays below the 99 KiB that the smallest devices since Ampere give a program.
TILINGS = {"bf16": Tiling(), "fp32": Tiling(context_rows=32, warps=8, stages=2)}


@dataclass(frozen=True)
class Packed:
    """Items of about the same number of vectors, as the kernel reads them."""

    places: Tensor
    """[n] which items of the side these are."""
    counts: Tensor
    """[n] int32: vectors that are there; they come first."""
    vectors: Tensor
    """[n, R, D] in the kernel's precision, zero where there is none."""
    lengths: Tensor
    """[n, R] float32, one where there is no vector."""
    factors: Tensor
    """[n, R, R] float32 L with ``L L^T`` the item's inner products."""
    query_half: Tensor
    """[n, R, 2, D] in the kernel's precision (the vectors again at K = 1, where it is not read)."""
    context_half: Tensor
    """Likewise."""


@cache
def why_not() -> str | None:
    """Return why no kernel can run in this process, or None if one can."""
    if not torch.cuda.is_available():
        return "there is no CUDA device"
    if torch.version.cuda is None:
        return "this PyTorch is not built for CUDA"
    return None if find_spec("triton") else "Triton is not installed"


def available() -> bool:
    """Whether a CUDA device and Triton are there."""
    return why_not() is None


def usable(matcher: IterativeMatching, images: Side, texts: Side) -> bool:
    """Whether :func:`cross_scores_fused` takes these; what keeps it from a CUDA device is said in the log, once."""
    vectors = images.vectors
    if not vectors.is_cuda or vectors.dtype != torch.float32 or matcher.steps > MOST_STEPS:
        return False
    if max(images.vectors.shape[1], texts.vectors.shape[1]) > MOST_ROWS:
        return False
    reason = why_not()
    if reason is None and torch.cuda.get_device_capability(vectors.device) < OLDEST:
        reason = f"{torch.cuda.get_device_name(vectors.device)} is older than compute capability 8.0"
    if reason is not None:
        _say_once(f"matching runs in plain PyTorch on {vectors.device}, several times slower: {reason}")
    return reason is None


def cross_scores_fused(
    matcher: IterativeMatching, images: Side, texts: Side, precision: str = "fp32", tiling: Tiling | None = None
) -> Tensor:
    """Return the cross terms [N, M] of Eq. 6, summed over both directions and the K steps, without a graph.

    Args:
        matcher: holds K and the knobs.
        images: N items on the device.
        texts: M items on the device.
        precision: ``fp32``, or ``bf16`` for inputs rounded to bfloat16 and summed in float32.
        tiling: another layout than the default's, for measurements.

    Raises:
        InputError: an unknown precision.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision={precision!r} must be one of {', '.join(PRECISIONS)}")
    assert matcher.steps <= MOST_STEPS, f"K = {matcher.steps}: see usable()"
    scores_NM = torch.zeros(len(images), len(texts), device=images.vectors.device)
    if not scores_NM.numel():
        return scores_NM
    tiling = tiling or TILINGS[precision]
    image_groups, text_groups = packed(images, PRECISIONS[precision]), packed(texts, PRECISIONS[precision])
    for v in image_groups:
        for w in text_groups:
            if matcher.config.image_asks:
                _launch(scores_NM, v, w, matcher.steps, matcher.config, tiling)
            if matcher.config.text_asks:
                _launch(scores_NM.T, w, v, matcher.steps, matcher.config, tiling)
    return scores_NM


def packed(side: Side, dtype: torch.dtype) -> list[Packed]:
    """Return the side's items in groups of the same R, as the kernel reads them."""
    rows = side.vectors.shape[1]
    if side.keep is None:
        return [_group(side, torch.arange(len(side), device=side.vectors.device), rows, dtype)]
    counts = side.keep.sum(1)
    sizes = {r: _padded_rows(r) for r in counts.unique().tolist()}
    groups = []
    for size in sorted(set(sizes.values())):
        here = [r for r, padded in sizes.items() if padded == size]
        places = torch.isin(counts, torch.tensor(here, device=counts.device)).nonzero()[:, 0]
        groups.append(_group(side, places, max(here), dtype))
    return groups


def factors_of(gram: Tensor) -> Tensor:
    """Return lower triangular L [n, r, r] in float32 with ``L L^T`` near ``gram`` [n, r, r] in float64.

    A singular matrix (equal or zero vectors, more vectors than dimensions) has no Cholesky factor: 1e-14 of its largest
    entry is added to its diagonal, which changes a length by at most 1e-7 of the longest vector's, float32's own error.
    """
    largest = gram.diagonal(dim1=-2, dim2=-1).amax(-1)
    shift = 1e-14 * largest + 1e-30  # where all vectors are zero; far below EPS squared
    factors, failed = torch.linalg.cholesky_ex(gram + torch.diag_embed(shift[:, None].expand(gram.shape[:2])))
    odd = failed.nonzero()[:, 0]
    if len(odd):  # any root will do: the kernel takes a full matrix
        values, vectors = torch.linalg.eigh(gram[odd])
        factors[odd] = vectors * values.clamp_min(0).sqrt()[:, None, :]
    return factors.float()


def _group(side: Side, places: Tensor, rows: int, dtype: torch.dtype) -> Packed:
    keep, size = side.keep, _padded_rows(rows)
    if keep is None:
        counts, order = places.new_full((len(places),), rows), None
    else:
        counts = keep[places].sum(1)
        order = kept_first(keep[places])[:, :rows]

    def taken(values: Tensor | None, fill: float = 0.0) -> Tensor | None:
        """Return [n, R, ...] with what is there first."""
        if values is None:
            return None
        if order is not None:
            values = values[places[:, None], order]
        return _with_rows(values, size, fill)

    vectors = taken(side.vectors)
    assert vectors is not None
    vectors = vectors.to(dtype)
    lengths, factors = _own_products(vectors)
    there = torch.arange(size, device=places.device) < counts[:, None]
    vectors = _with_columns(vectors).contiguous()
    halves = [_halves(taken(half), dtype) for half in (side.query_half, side.context_half)]
    query_half, context_half = (vectors if half is None else half for half in halves)
    return Packed(places, counts.int(), vectors, torch.where(there, lengths, 1.0), factors, query_half, context_half)


def _own_products(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return lengths [n, R] and factors [n, R, R] of what the kernel reads: vectors rounded to its precision."""
    each = max(1, CHUNK_FLOATS // vectors[0].numel())
    lengths, factors = [], []
    for chunk in vectors.split(each):
        wide = chunk.double()
        lengths.append(length(wide).float())
        factors.append(factors_of(wide @ wide.mT))
    return torch.cat(lengths), torch.cat(factors)


def _halves(half: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Return [n, R, 2, D] from [n, R, 2d], the gate's part times 1/2: sigmoid(p) = 1/2 + tanh(p/2)/2."""
    if half is None:
        return None
    parts = _with_columns(half.unflatten(-1, (2, -1)).to(dtype))
    return torch.stack([0.5 * parts[:, :, 0], parts[:, :, 1]], dim=2)  # exact: a power of two


def _padded_rows(rows: int) -> int:
    return max(LEAST_ROWS, 1 << (rows - 1).bit_length())


def _with_rows(values: Tensor, size: int, fill: float) -> Tensor:
    missing = size - values.shape[1]
    return functional.pad(values, (0, 0) * (values.ndim - 2) + (0, missing), value=fill) if missing else values


def _with_columns(values: Tensor) -> Tensor:
    missing = -values.shape[-1] % WIDTH
    return functional.pad(values, (0, missing)) if missing else values


def launch_arguments(
    scores: Tensor, query: Packed, context: Packed, steps: int, config: MatchingConfig, tiling: Tiling, fast: bool
) -> tuple[list[Any], dict[str, Any]]:
    """Return the kernel's arguments, and its constants and options."""
    (n, query_rows, width), (m, context_rows, _) = query.vectors.shape, context.vectors.shape
    arguments = [scores, *scores.stride()]
    arguments += [query.vectors, query.query_half, query.lengths, query.counts, query.places]
    arguments += [context.vectors, context.context_half, context.lengths, context.counts, context.places]
    arguments += [context.factors, n, m, config.inverse_temperature, config.lse_inverse_temperature]
    layout = {
        "D": width,
        "RX": query_rows,
        "RY": context_rows,
        "TQ": max(1, tiling.query_rows // query_rows),
        "TC": max(1, tiling.context_rows // context_rows),
        "BW": tiling.columns,
        "GROUP": tiling.group,
        "STAGES": tiling.stages,
        "num_warps": tiling.warps,
        "enable_fp_fusion": True,
    }
    knobs = {
        "REFINE": steps > 1,
        "COSINE": config.similarity == "cosine",
        "SLOPE": SLOPES[config.clip],
        "REFINED": config.score_operand == "refined",
        "LSE": config.aggregate == "lse",
        "RENORMALISE": config.renormalise,
        "FAST": fast,
        "PRECISION": "ieee",
    }
    return arguments, layout | knobs


def _launch(scores: Tensor, query: Packed, context: Packed, steps: int, config: MatchingConfig, tiling: Tiling) -> None:
    """Add one direction's cross terms of all pairs of two groups to ``scores`` [queries, contexts], any strides."""
    from lile.matching.fused_kernel import cross_kernel

    fast = query.vectors.dtype == torch.bfloat16 and query.vectors.is_cuda  # the interpreter has no approximations
    arguments, options = launch_arguments(scores, query, context, steps, config, tiling, fast)
    tiles = -(-len(query.counts) // options["TQ"]) * -(-len(context.counts) // options["TC"])
    kernel: Any = cross_kernel
    with torch.cuda.device_of(scores):  # Triton launches on the current device
        kernel[(tiles,)](*arguments, **options)


@cache
def _say_once(message: str) -> None:
    log.warning("%s", message)
