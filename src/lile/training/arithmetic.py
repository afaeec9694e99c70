"""Arithmetic that every training shares: in which precision, and that the same run gives the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from lile.values import Precision


def fabric_precision(wanted: Precision) -> Any:
    """Return Lightning's name of a precision; ``auto`` is bfloat16 on a GPU that has it, else 32-bit."""
    if wanted == "auto":
        wanted = "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "32"
    return {"32": "32-true", "bf16": "bf16-mixed"}[wanted]


@contextmanager
def deterministic() -> Iterator[None]:
    """Make sums over the same rows come in the same order; on a GPU, where that is not always possible, warn."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
