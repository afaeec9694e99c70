"""The knobs of one side of a model: from stored tokens, or words, to the vectors an item is matched by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lile.errors import InputError
from lile.values import at_least, one_of

Source = Literal["encoder", "words"]
Recurrence = Literal["none", "forward", "both"]
PoolingKind = Literal["maps", "residual_maps", "mean", "last", "gpo", "none", "given"]

ONE_VECTOR = ("mean", "last", "gpo", "given")
"""Poolings that leave one vector per item, so that a dot product can score a pair."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SideConfig:
    """Images, or texts: source -> graph -> GRU -> pooling."""

    source: Source = "encoder"
    """The encoder's stored tokens and trainable blocks, or an embedding of words learnt from scratch (texts only)."""
    word_width: int = 300
    """Width of a word's embedding."""
    min_count: int = 4
    """Words that are rarer among the fold's training captions are unknown."""
    graph_layers: int = 0
    """Residual graph layers over the tokens (VSRN: 4)."""
    recurrent: Recurrence = "none"
    """A GRU over the tokens, in reading order or in both directions (averaged)."""
    pooling: PoolingKind = "maps"
    """LILE's m maps; PVSE's m maps around a global vector; the mean; the GRU's last state; VSE-infinity's generalised
    pooling; ``none``: every token is a vector; ``given``: the stored vectors lie in the joint space already."""

    def __post_init__(self) -> None:
        one_of("source", self.source, Source)
        one_of("recurrent", self.recurrent, Recurrence)
        one_of("pooling", self.pooling, PoolingKind)
        at_least("word_width", self.word_width, 1)
        at_least("min_count", self.min_count, 1)
        at_least("graph_layers", self.graph_layers, 0)
        if self.pooling == "last" and self.recurrent == "none":
            raise InputError("pooling: last is the last state of a GRU; set recurrent: forward or both")
        changed = self.source != "encoder" or self.graph_layers or self.recurrent != "none"
        if self.pooling == "given" and changed:
            raise InputError("pooling: given takes the stored vectors as they are; leave source, graph and GRU out")

    @property
    def learns(self) -> bool:
        """Whether this side has weights of its own beside the encoder's."""
        return self.pooling != "given"
