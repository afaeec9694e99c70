"""Made-up queries (groups of images with their descriptions, ranks that are better for a better model) and tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_table import made_up_leaks, write, write_run

from lile.evaluation.recalls import figures_of
from lile.evaluation.relevance import DIRECTIONS, PROTOCOLS
from lile.reporting.queries import RunQueries
from lile.reporting.rows import TABLE_COLUMNS
from lile.reporting.spec import TableSpec

FIGURES = [(way, name) for way in ("i2t", "t2i") for name in ("R1", "R5", "R10")]


@dataclass(frozen=True)
class Fold:
    """The arrays of a ``ranks.npz`` and the ``metrics.json`` that goes with them."""

    arrays: dict[str, np.ndarray]
    metrics: dict

    def queries(self) -> RunQueries:
        image_D, groups_N = self.arrays["description_image"], self.arrays["image_groups"]
        keys = [(name, way) for name in PROTOCOLS for way in DIRECTIONS]
        return RunQueries(
            ids={"i2t": self.arrays["image_ids"], "t2i": self.arrays["description_ids"]},
            groups={"i2t": groups_N, "t2i": groups_N[image_D]},
            ranks={(name, way): self.arrays[f"{name}_{way}"] for name, way in keys},
            precisions={
                (*key, metric): self.arrays["_".join((*key, end))] for key in keys for metric, end in ENDINGS.items()
            },
        )


def made_up_fold(groups: int, mean_rank: float, seed: int, prefix: str = "", luck: float = 1.0) -> Fold:
    """A fold of ``groups`` groups of one to four images with one to three descriptions each.

    The sizes depend on ``groups`` and ``prefix`` alone, so that models can be compared; ranks depend on the rest. With
    ``luck`` above 1 the queries of a group are alike.
    """
    sizes = np.random.default_rng([groups, len(prefix)])
    group_N = np.repeat(np.arange(groups), sizes.integers(1, 5, size=groups))
    image_D = np.repeat(np.arange(len(group_N)), sizes.integers(1, 4, size=len(group_N)))
    rng = np.random.default_rng(seed)
    luck_G = luck ** rng.normal(size=groups)
    group_of = {"i2t": group_N, "t2i": group_N[image_D]}
    arrays: dict[str, np.ndarray] = {
        "image_ids": np.array([f"{prefix}i{number}" for number in range(len(group_N))]),
        "description_ids": np.array([f"{prefix}d{number}" for number in range(len(image_D))]),
        "image_groups": np.array([f"{prefix}g{number}" for number in group_N]),
        "description_image": image_D.astype(np.int64),
    }
    protocols: dict[str, dict] = {}
    for name in PROTOCOLS:
        protocols[name] = {}
        for way in DIRECTIONS:
            ranks_Q = np.floor(rng.exponential(mean_rank * luck_G[group_of[way]])).astype(np.int64)
            arrays |= {f"{name}_{way}": ranks_Q, f"{name}_{way}_ap": 1.0 / (1.0 + ranks_Q)}
            arrays[f"{name}_{way}_rprec"] = (ranks_Q == 0) / 2
            means = {metric: 100 * float(arrays[f"{name}_{way}_{end}"].mean()) for metric, end in ENDINGS.items()}
            protocols[name][way] = {**figures_of(ranks_Q), **means}
    return Fold(arrays, {"protocols": protocols})


ENDINGS = {"mAP": "ap", "Rprec": "rprec"}


@pytest.fixture
def fold_of() -> Callable[..., Fold]:
    return made_up_fold


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
                         "mean": mean, "std": spread, "letters": "", "folds": 3, "note": ""}
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


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return the results of two models on three folds."""
    root = tmp_path / "results"
    for model, preset, quality in (("lile", "scaled", 0.8), ("lile_paper", "paper", 0.3)):
        for fold in range(3):
            write_run(root / "demo" / model / f"fold-{fold}", model, fold, preset, quality)
    (root / "demo" / "data").mkdir()
    write(root / "demo" / "data" / "leaks.json", made_up_leaks())
    return root
