"""The Triton kernel of :mod:`lile.matching.fused`: one direction's cross terms (Eq. 1 to 4, 6, 7) of a tile of pairs.

Importing this module imports Triton, so only ``fused.py`` does it, inside a function.

Shapes: a program takes TQ query items and TC context items. i = TQ * RX query rows, RX rows each; j = RY rows of one
context; W columns of the width d at a time (BW). Everything of width d lives in registers and shared memory, W columns
at a time; what is kept per pair are a few [i, j] blocks. One block per context is a tuple, because Triton cannot slice.
"""

from __future__ import annotations

import triton
import triton.language as tl

EPS2 = tl.constexpr(1e-16)  # the square of lile.matching.sides.EPS


@triton.jit
def tanh_fast(x: tl.tensor) -> tl.tensor:
    """One special-function operation; at most 5e-4 off, relative."""
    return tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)


@triton.jit
def tanh_exact(x: tl.tensor) -> tl.tensor:
    """To float32's precision: near zero by its series, where 1 - 2 / (e^2x + 1) would lose digits."""
    square = x * x
    near = x * (1 + square * (-1 / 3 + square * (2 / 15 + square * (-17 / 315 + square * (62 / 2835)))))
    far = 1 - 2 / (tl.exp(2 * tl.minimum(x, 40.0)) + 1)
    return tl.where(square < 0.0625, near, far)


@triton.jit
def product(a: tl.tensor, b: tl.tensor, sums: tl.tensor, FAST: tl.constexpr, PRECISION: tl.constexpr) -> tl.tensor:
    """``sums + a b`` in float32. The interpreter cannot multiply bfloat16: there the rounded numbers are widened."""
    if FAST:
        return tl.dot(a, b, sums)
    return tl.dot(a.to(tl.float32), b.to(tl.float32), sums, input_precision=PRECISION)


@triton.jit
def blend(x: tl.tensor, half_gate: tl.tensor, update: tl.tensor, FAST: tl.constexpr) -> tl.tensor:
    """Eq. 3 from half the gate's preactivation and the update's: ``g * x + (1 - g) * o``."""
    if FAST:
        g = tanh_fast(half_gate) * 0.5 + 0.5
        o = tanh_fast(update)
    else:
        g = 1 / (1 + tl.exp(-2 * tl.maximum(half_gate, -40.0)))
        o = tanh_exact(update)
    return o + g * (x - o)


@triton.jit
def attention(
    gram: tl.tensor,
    x_length: tl.tensor,
    y_length: tl.tensor,
    y_there: tl.tensor,
    inverse_temperature: tl.tensor,
    TQ: tl.constexpr,
    RX: tl.constexpr,
    RY: tl.constexpr,
    COSINE: tl.constexpr,
    SLOPE: tl.constexpr,
) -> tl.tensor:
    """Eq. 1 and 2: alpha [i, j]; rows that are not there must be zero in ``gram``."""
    s = gram
    if COSINE:
        s = gram / (x_length[:, None] * y_length[None, :])
    s = tl.where(s > 0, s, s * SLOPE)
    s = tl.reshape(s, [TQ, RX, RY])
    s = s / tl.sqrt(tl.maximum(tl.sum(s * s, 1), EPS2))[:, None, :]  # over the query axis, per context vector
    logits = tl.where(y_there[None, :], tl.reshape(s, [TQ * RX, RY]) * inverse_temperature, float("-inf"))
    alpha = tl.exp(logits - tl.max(logits, 1)[:, None])
    return alpha / tl.sum(alpha, 1)[:, None]


@triton.jit
def cross(
    alpha: tl.tensor,
    gram: tl.tensor,
    length: tl.tensor,
    factor: tl.tensor,
    x_count: tl.tensor,
    lse_inverse_temperature: tl.tensor,
    TQ: tl.constexpr,
    RX: tl.constexpr,
    LSE: tl.constexpr,
    FAST: tl.constexpr,
) -> tl.tensor:
    """Eq. 6: the cosines with what is attended, and their mean or LogSumExp, [TQ]."""
    inner = tl.sum(alpha * gram, 1)
    # a_i in r_y coordinates, for its length. Three products in tf32 lose no digit that bfloat16 has.
    place = tl.dot(alpha, factor, input_precision="tf32x3" if FAST else "ieee")
    cosines = inner / (length * tl.sqrt(tl.maximum(tl.sum(place * place, 1), EPS2)))
    cosines = tl.reshape(cosines, [TQ, RX])
    there = tl.arange(0, RX)[None, :] < x_count[:, None]
    if LSE:
        scaled = tl.where(there, cosines * lse_inverse_temperature, float("-inf"))
        top = tl.max(scaled, 1)
        return (top + tl.log(tl.sum(tl.exp(scaled - top[:, None]), 1))) / lse_inverse_temperature
    return tl.sum(tl.where(there, cosines, 0.0), 1) / x_count


@triton.jit
def gram_blocks(
    x_at: tl.tensor,
    y_vectors: tl.tensor,
    y_rows: tl.tuple,
    D: tl.constexpr,
    BW: tl.constexpr,
    TC: tl.constexpr,
    STAGES: tl.constexpr,
    FAST: tl.constexpr,
    PRECISION: tl.constexpr,
) -> tl.tuple:
    """Return per context the inner products [i, j]."""
    width = tl.arange(0, BW)
    grams: tl.tuple = ()
    for c in tl.static_range(TC):
        grams += (tl.zeros([x_at.shape[0], y_rows[c].shape[0]], tl.float32),)
    for start in tl.range(0, D, BW, num_stages=STAGES):
        x = tl.load(x_at + start)
        sums: tl.tuple = ()
        for c in tl.static_range(TC):
            y = tl.load(y_vectors + y_rows[c][:, None] * D + (start + width)[None, :])
            sums += (product(x, tl.trans(y), grams[c], FAST, PRECISION),)
        grams = sums
    return grams


@triton.jit
def refined_blocks(
    x_at: tl.tensor,
    x_half_at: tl.tensor,
    y_vectors: tl.tensor,
    y_half: tl.tensor,
    y_rows: tl.tuple,
    alphas: tl.tuple,
    D: tl.constexpr,
    BW: tl.constexpr,
    TC: tl.constexpr,
    STAGES: tl.constexpr,
    FAST: tl.constexpr,
    PRECISION: tl.constexpr,
) -> tl.tuple:
    """Return per context the refined queries' inner products [i, j], and per context their squared lengths [i]."""
    width = tl.arange(0, BW)
    grams: tl.tuple = ()
    squares: tl.tuple = ()
    for c in tl.static_range(TC):
        grams += (tl.zeros([x_at.shape[0], y_rows[c].shape[0]], tl.float32),)
        squares += (tl.zeros([x_at.shape[0]], tl.float32),)
    for start in tl.range(0, D, BW, num_stages=STAGES):
        x = tl.load(x_at + start).to(tl.float32)
        gate = tl.load(x_half_at + start).to(tl.float32)
        update = tl.load(x_half_at + D + start).to(tl.float32)
        sums: tl.tuple = ()
        more: tl.tuple = ()
        for c in tl.static_range(TC):
            half_at = y_half + y_rows[c][:, None] * (2 * D) + (start + width)[None, :]
            both_gates = product(alphas[c], tl.load(half_at), gate, FAST, PRECISION)
            both_updates = product(alphas[c], tl.load(half_at + D), update, FAST, PRECISION)
            refined = blend(x, both_gates, both_updates, FAST)
            y = tl.load(y_vectors + y_rows[c][:, None] * D + (start + width)[None, :])
            sums += (product(refined.to(y.dtype), tl.trans(y), grams[c], FAST, PRECISION),)
            more += (squares[c] + tl.sum(refined * refined, 1),)
        grams = sums
        squares = more
    return grams, squares


@triton.jit
def tile_of(
    queries: tl.tensor, contexts: tl.tensor, TQ: tl.constexpr, TC: tl.constexpr, GROUP: tl.constexpr
) -> tl.tuple:
    """Return the first query and the first context of this program.

    Programs that run together take few query tiles against many context tiles: both stay in the L2 cache.
    """
    program = tl.program_id(0)
    context_tiles = tl.cdiv(contexts, TC)
    group = program // (GROUP * context_tiles)
    high = tl.minimum(tl.cdiv(queries, TQ) - group * GROUP, GROUP)
    inside = program - group * GROUP * context_tiles
    return (group * GROUP + inside % high) * TQ, (inside // high) * TC


@triton.jit
def cross_kernel(
    scores: tl.tensor,
    query_stride: tl.tensor,
    context_stride: tl.tensor,
    x_vectors: tl.tensor,
    x_half: tl.tensor,
    x_lengths: tl.tensor,
    x_counts: tl.tensor,
    x_places: tl.tensor,
    y_vectors: tl.tensor,
    y_half: tl.tensor,
    y_lengths: tl.tensor,
    y_counts: tl.tensor,
    y_places: tl.tensor,
    y_factors: tl.tensor,
    queries: tl.tensor,
    contexts: tl.tensor,
    inverse_temperature: tl.tensor,
    lse_inverse_temperature: tl.tensor,
    D: tl.constexpr,
    RX: tl.constexpr,
    RY: tl.constexpr,
    TQ: tl.constexpr,
    TC: tl.constexpr,
    BW: tl.constexpr,
    GROUP: tl.constexpr,
    STAGES: tl.constexpr,
    REFINE: tl.constexpr,
    COSINE: tl.constexpr,
    SLOPE: tl.constexpr,
    REFINED: tl.constexpr,
    LSE: tl.constexpr,
    RENORMALISE: tl.constexpr,
    FAST: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """Add the cross terms of TQ queries with TC contexts to ``scores``. The arguments: see ``fused._launch``."""
    first_query, first_context = tile_of(queries, contexts, TQ, TC, GROUP)
    # Past the end the last item is taken again and its score not stored: no load needs a mask.
    query_of_row = tl.minimum(first_query + tl.arange(0, TQ * RX) // RX, queries - 1)
    row = query_of_row.to(tl.int64) * RX + tl.arange(0, TQ * RX) % RX
    x_at = x_vectors + row[:, None] * D + tl.arange(0, BW)[None, :]
    x_length = tl.load(x_lengths + row)
    x_count = tl.load(x_counts + tl.minimum(first_query + tl.arange(0, TQ), queries - 1))
    y_rows: tl.tuple = ()
    for c in tl.static_range(TC):
        y_rows += (tl.minimum(first_context + c, contexts - 1).to(tl.int64) * RY + tl.arange(0, RY),)

    grams = gram_blocks(x_at, y_vectors, y_rows, D, BW, TC, STAGES, FAST, PRECISION)
    alphas: tl.tuple = ()
    totals: tl.tuple = ()
    for c in tl.static_range(TC):
        y_there = tl.arange(0, RY) < tl.load(y_counts + tl.minimum(first_context + c, contexts - 1))
        y_length = tl.load(y_lengths + y_rows[c])
        alpha = attention(grams[c], x_length, y_length, y_there, inverse_temperature, TQ, RX, RY, COSINE, SLOPE)
        factor = tl.load(y_factors + y_rows[c][:, None] * RY + tl.arange(0, RY)[None, :])
        alphas += (alpha.to(y_half.dtype.element_ty),)
        totals += (cross(alpha, grams[c], x_length, factor, x_count, lse_inverse_temperature, TQ, RX, LSE, FAST),)

    if REFINE:
        x_half_at = x_half + row[:, None] * (2 * D) + tl.arange(0, BW)[None, :]
        nexts, squares = refined_blocks(
            x_at, x_half_at, y_vectors, y_half, y_rows, alphas, D, BW, TC, STAGES, FAST, PRECISION
        )
        x_there = tl.arange(0, TQ * RX) % RX < tl.load(x_counts + query_of_row)
        both: tl.tuple = ()
        for c in tl.static_range(TC):
            gram = tl.where(x_there[:, None], nexts[c], 0.0)
            square = tl.where(x_there, squares[c], 0.0)
            length = tl.sqrt(tl.maximum(square, EPS2))
            if RENORMALISE:
                gram = gram / length[:, None]
                length = tl.sqrt(tl.maximum(square / (length * length), EPS2))
            y_there = tl.arange(0, RY) < tl.load(y_counts + tl.minimum(first_context + c, contexts - 1))
            y_length = tl.load(y_lengths + y_rows[c])
            alpha = attention(gram, length, y_length, y_there, inverse_temperature, TQ, RX, RY, COSINE, SLOPE)
            factor = tl.load(y_factors + y_rows[c][:, None] * RY + tl.arange(0, RY)[None, :])
            if not REFINED:
                gram = grams[c]
                length = x_length
            total = cross(alpha, gram, length, factor, x_count, lse_inverse_temperature, TQ, RX, LSE, FAST)
            both += (totals[c] + total,)
        totals = both

    query = first_query + tl.arange(0, TQ)
    to = scores + tl.load(x_places + tl.minimum(query, queries - 1)) * query_stride
    for c in tl.static_range(TC):
        mine = query < tl.where(first_context + c < contexts, queries, 0)
        at = to + tl.load(y_places + tl.minimum(first_context + c, contexts - 1)) * context_stride
        tl.store(at, tl.load(at, mask=mine, other=0.0) + totals[c], mask=mine)
