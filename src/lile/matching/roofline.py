"""The least time that the matching of all pairs can take on a device, by what its units do per second."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """What a device's units do per second at most, as its maker states it."""

    bf16: float
    """Floating point operations per second of bfloat16 matrix work, dense."""
    fp32: float
    """The same of plain float32."""
    special: float
    """Special functions (exponential, tanh, root, reciprocal) per second."""


# The data sheet's dense bfloat16 and float32 rates; special functions: 132 multiprocessors of 16 a clock (CUDA C++
# Programming Guide, arithmetic throughput, compute capability 9.0) at 1.98 GHz.
H200 = Peaks(bf16=989e12, fp32=67e12, special=132 * 16 * 1.98e9)


@dataclass(frozen=True)
class Roofline:
    """Seconds that bound all pairs from below; the units can work at the same time."""

    matrix_seconds: float
    special_seconds: float

    @property
    def seconds(self) -> float:
        """The larger of both."""
        return max(self.matrix_seconds, self.special_seconds)


def operations(images: int, texts: int, vectors: int, width: int, steps: int) -> tuple[int, int]:
    """Return the floating point operations of matrix work, and the special functions, of all pairs in both directions.

    With m vectors of width d on both sides, a multiply-add being two operations, a pair takes

    - once: the Gram block, ``2 m^2 d``, which both directions share;
    - per direction and step: the attended vectors' lengths from m x m products, ``2 m^3``; ``m^2`` exponentials of
      the softmax, ``m`` roots over the query axis and ``m`` roots of lengths;
    - per direction and gate, of which there are K - 1: attention times the context's half, ``2 m^2 2d``, and the next
      Gram block, ``2 m^2 d``; a sigmoid and a tanh for each of ``m d`` numbers;
    - per direction and gate but the first, K - 2 if any: the query's half, ``2 m d 2d``.

    The direct term and what is computed once per item are left out. Only the sigmoid is counted as one special
    function: the exact form takes an exponential and a reciprocal.
    """
    m, d, gates = vectors, width, steps - 1
    lengths, gate, query_half = 2 * m**3, 2 * m**2 * 3 * d, 2 * m * d * 2 * d
    matrix = 2 * m**2 * d + 2 * (steps * lengths + gates * gate + max(0, gates - 1) * query_half)
    special = 2 * (steps * (m**2 + 2 * m) + gates * 2 * m * d)
    return images * texts * matrix, images * texts * special


def roofline(
    images: int, texts: int, vectors: int, width: int, steps: int, peaks: Peaks, precision: str = "bf16"
) -> Roofline:
    """Return the bounds for N x M pairs of m vectors of width d and K steps, see :func:`operations`.

    Args:
        images: N.
        texts: M.
        vectors: m.
        width: d.
        steps: K.
        peaks: of the device.
        precision: ``bf16`` or ``fp32``, which matrix rate counts.
    """
    matrix, special = operations(images, texts, vectors, width, steps)
    rate = {"bf16": peaks.bf16, "fp32": peaks.fp32}[precision]
    return Roofline(matrix / rate, special / peaks.special)
