"""A tidy table of two rows, a published method and the bounds, small enough to check by eye."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from lile.reporting.rows import TABLE_COLUMNS
from lile.reporting.spec import TableSpec

FIGURES = [(way, name) for way in ("i2t", "t2i") for name in ("R1", "R5", "R10")]


@pytest.fixture
def tidy() -> Callable[..., pd.DataFrame]:
    """Return a tidy table: {row: seven figures}, each with a spread or none."""

    def build(ours: dict[str, list[float]], std: float | None = 1.0, protocols: tuple[str, ...] = ("own",)) -> Any:
        lines = []
        for protocol in protocols:
            for row, figures in {"chance": [0.5] * 7, "ceiling": [100.0] * 6 + [600.0], **ours}.items():
                source = row if row in ("chance", "ceiling") else "ours"
                for (way, name), mean in zip([*FIGURES, ("both", "Rsum")], figures, strict=True):
                    spread = std if source == "ours" else 0.0
                    lines.append(
                        {"table": "demo", "dataset": "arch", "row": row, "source": source, "preset": "paper",
                         "encoders": "vit + bert", "protocol": protocol, "direction": way, "metric": name,
                         "mean": mean, "std": spread, "folds": 3, "note": ""}
                    )  # fmt: skip
        frame = pd.DataFrame(lines, columns=list(TABLE_COLUMNS))
        return frame.astype({"folds": "Int64", "std": float, "mean": float})

    return build


@pytest.fixture
def spec() -> Callable[..., TableSpec]:
    """Return a table's spec with what is asked for changed."""

    def build(**changed: Any) -> TableSpec:
        about = {"name": "demo", "dataset": "arch", "kind": "arch", "models": ("a", "b", "c"), "folds": 3}
        return TableSpec(**{**about, "by": "cross_validation", **changed})

    return build
