"""Items as ``native_math.h`` lays them out, and gradients back from that layout.

Shapes: N items, r vectors of the longest, d width, P panels of PANEL dimensions, rp = r rounded up to the lanes.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lile.matching.config import SLOPES, MatchingConfig
from lile.matching.items import kept_first
from lile.matching.memory import GatedMemory
from lile.matching.sides import Side

ALIGNMENT = 64  # bytes: what vector registers are loaded from


class SideStructure(ctypes.Structure):
    """``Side`` of native_math.h."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "yt", "gram", "length", "qh", "ch", "count")),
        ("r", ctypes.c_int64),
        ("rp", ctypes.c_int64),
    ]


class SideGradientStructure(ctypes.Structure):
    """``SideGradient`` of native_gradient.h."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("x", "qh", "ch", "length", "gram")]


class WayStructure(ctypes.Structure):
    """``Way`` of native_math.h."""

    _fields_ = [("asks", ctypes.c_int32), ("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p)]


class RuleStructure(ctypes.Structure):
    """``Rule`` of native_math.h."""

    _fields_ = [
        ("dp", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("steps", "dot", "refined", "lse", "renormalise")),
        *((name, ctypes.c_float) for name in ("slope", "inverse_temperature", "lse_inverse_temperature")),
    ]


@dataclass
class PackedGradient:
    """Gradients by a side, in the layout of the compiled code."""

    structure: SideGradientStructure
    tensors: dict[str, Tensor]
    """x [N, P, r, PANEL], length [N, rp], gram [N, r, rp], and the halves that the side has [N, P, r, 2, PANEL]."""
    width: int
    order_Nr: Tensor | None
    """Which vector of an item stands where, for ragged items."""

    def add(self, other: PackedGradient) -> None:
        """Add another gradient in place."""
        for name, mine in self.tensors.items():
            mine += other.tensors[name]

    def unpacked(self) -> list[Tensor]:
        """Return the gradients in :class:`~lile.matching.sides.Side`'s order: vectors, lengths, gram, halves."""
        x = self.tensors["x"]
        N, P, r, panel = x.shape
        vectors = x.transpose(1, 2).reshape(N, r, P * panel)[..., : self.width]
        rows = [vectors, self.tensors["length"][:, :r], self.tensors["gram"][..., :r]]
        for name in ("qh", "ch"):
            if name in self.tensors:  # [N, P, r, 2, PANEL] -> [N, r, 2d]
                half = self.tensors[name].permute(0, 2, 3, 1, 4).reshape(N, r, 2, P * panel)
                rows.append(half[..., : self.width].flatten(2))
        if self.order_Nr is None:
            return rows
        back_Nr = self.order_Nr.argsort(dim=1)
        rows = [in_order(row, back_Nr) for row in rows]
        rows[2] = in_order(rows[2].mT, back_Nr).mT
        return rows


@dataclass
class Packed:
    """A side in the layout of the compiled code."""

    structure: SideStructure
    tensors: dict[str, Tensor]
    """What the structure points into, under its names."""
    width: int
    order_Nr: Tensor | None

    def gradient(self) -> PackedGradient:
        """Return zeros for the gradient by this side."""
        names = [name for name, *_ in SideGradientStructure._fields_ if name in self.tensors]
        zeros = {name: torch.zeros_like(self.tensors[name]) for name in names}
        structure = SideGradientStructure(**{name: zero.data_ptr() for name, zero in zeros.items()})
        return PackedGradient(structure, zeros, self.width, self.order_Nr)


def rule_of(lanes: int, width: int, steps: int, config: MatchingConfig) -> RuleStructure:
    """Return the knobs for the compiled code.

    Args:
        lanes: floats of a vector register.
        width: d.
        steps: K.
        config: the knobs.
    """
    return RuleStructure(
        dp=_up(width, 2 * lanes),
        steps=steps,
        dot=config.similarity == "dot",
        refined=config.score_operand == "refined",
        lse=config.aggregate == "lse",
        renormalise=config.renormalise,
        slope=SLOPES[config.clip],
        inverse_temperature=config.inverse_temperature,
        lse_inverse_temperature=config.lse_inverse_temperature,
    )


def packed_side(side: Side, rule: RuleStructure, lanes: int) -> Packed:
    """Return a side of N items laid out for the compiled code; vectors that are there come first."""
    order_Nr = None
    N, r, d = side.vectors.shape
    if side.keep is None:
        count_N = torch.full((N,), r, dtype=torch.int32, device="cpu")
    else:
        order_Nr, count_N = kept_first(side.keep), side.keep.sum(1, dtype=torch.int32)
        side = _reordered(side, order_Nr)
    rp, panels = _up(r, lanes), rule.dp // (2 * lanes)
    # types and device are said: torch's defaults may have been set to others
    yt = torch.zeros(N, rule.dp, rp, dtype=torch.float32, device="cpu")
    yt[:, :d, :r] = side.vectors.mT
    gram = torch.zeros(N, r, rp, dtype=torch.float64, device="cpu")
    gram[..., :r] = side.gram
    length = torch.ones(N, rp, dtype=torch.float32, device="cpu")
    length[:, :r] = side.lengths
    tensors = {"x": _in_panels(side.vectors, panels, 2 * lanes), "yt": yt, "gram": gram, "length": length}
    for name, half in (("qh", side.query_half), ("ch", side.context_half)):
        if half is not None:
            parts = [_in_panels(part, panels, 2 * lanes) for part in half.chunk(2, dim=-1)]
            tensors[name] = torch.stack(parts, dim=3)
    tensors["count"] = count_N
    structure = SideStructure(r=r, rp=rp, **{name: _address(tensor) for name, tensor in tensors.items()})
    return Packed(structure, tensors, d, order_Nr)


def packed_way(
    memory: GatedMemory | None, asks: bool, rule: RuleStructure, lanes: int
) -> tuple[WayStructure, list[Tensor]]:
    """Return a direction's gate and what it points into; the gate's query half is needed at K >= 3 alone."""
    if memory is None or rule.steps < 3:
        return WayStructure(asks, None, None), []
    dp, panel = rule.dp, 2 * lanes
    weight, bias = memory.query_weights()
    missing = dp - memory.width
    # [2d, d] -> [dp / panel, 2, dp, panel]: for each panel of outputs the gate's and the update's columns
    padded = functional.pad(weight.reshape(2, memory.width, memory.width), (0, missing, 0, missing))
    packed = padded.reshape(2, dp // panel, panel, dp).permute(1, 0, 3, 2).contiguous()
    padded_bias = functional.pad(bias.reshape(2, memory.width), (0, missing))
    packed_bias = padded_bias.reshape(2, dp // panel, panel).transpose(0, 1).contiguous()
    return WayStructure(asks, _address(packed), _address(packed_bias)), [packed, packed_bias]


def in_order(values: Tensor, order_Nr: Tensor) -> Tensor:
    """Return values [N, r, ...] with each item's rows in the given order."""
    places = order_Nr.reshape(*order_Nr.shape, *(1 for _ in values.shape[2:]))
    return values.gather(1, places.expand_as(values))


def _reordered(side: Side, order_Nr: Tensor) -> Side:
    gram = in_order(in_order(side.gram, order_Nr).mT, order_Nr).mT
    halves = [None if half is None else in_order(half, order_Nr) for half in (side.query_half, side.context_half)]
    return Side(in_order(side.vectors, order_Nr), None, in_order(side.lengths, order_Nr), gram, *halves)


def _in_panels(rows: Tensor, panels: int, panel: int) -> Tensor:
    """Return [N, panels, r, panel] from [N, r, d], with zeros after d."""
    N, r, d = rows.shape
    wide = rows if d == panels * panel else functional.pad(rows, (0, panels * panel - d))
    packed = wide.reshape(N, r, panels, panel).transpose(1, 2).contiguous()
    return packed if packed.data_ptr() % ALIGNMENT == 0 else packed.clone()  # may still be the caller's own memory


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


def _address(values: Tensor) -> int:
    assert values.is_contiguous()
    assert values.data_ptr() % ALIGNMENT == 0 or not values.numel(), "torch aligns what it allocates to 64 bytes"
    return values.data_ptr()
