"""What the config says about one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lile.errors import InputError
from lile.evaluation.protocols import BOUNDS
from lile.evaluation.recalls import RECALLS
from lile.evaluation.relevance import DIRECTIONS

if TYPE_CHECKING:
    import pandas as pd
from lile.reporting.published import published_paths

PROTOCOLS = ("own", "own_blocks", "group")
"""What a table may show, in its order; ``own_blocks`` where the dataset asks for blocks of test images."""

RECALL_KEYS = tuple((way, name) for way in DIRECTIONS for name in RECALLS)
HEADLINE_KEYS = (*RECALL_KEYS, ("both", "Rsum"))
"""Direction and metric of the six recalls, and of their sum with them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableSpec:
    """What the config says about one table and the dataset it is of."""

    name: str
    dataset: str
    kind: str
    """``synthetic``, ``arch`` or ``pairs``."""
    models: tuple[str, ...]
    folds: int
    by: str
    """``cross_validation``, or ``split``: the file's own split, repeated with other training seeds."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Row -> what a page calls it; a row without one goes by the model's name, as all do in the CSV files."""
    published: Mapping[str, Path] = field(default_factory=dict)
    """Protocol -> CSV of published figures."""
    compare: Mapping[str, str] = field(default_factory=dict)
    """Row of ours -> published method that it reproduces."""
    vary: str | None = None
    """Dotted key of the one number that the rows differ in, of an ablation of one."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Row -> that number."""
    group_by: str | None = None
    seeds: int = 1
    """How often each fold was trained; run r is fold ``r % folds`` with seed ``r // folds``."""
    data: str | None = None
    """The dataset whose images and texts it has, where that is another one."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> TableSpec:
        """Return the table of a rule's ``--config-json``; keys that no table needs are left to the manifest.

        Raises:
            InputError: a key is missing, or there is no model or no fold.
        """
        missing = [key for key in ("table", "dataset", "kind", "models", "folds", "by") if key not in config]
        if missing:
            raise InputError(f"table config lacks {missing}; found {sorted(config)}")
        if not config["models"] or int(config["folds"]) < 1 or int(config.get("seeds", 1)) < 1:
            raise InputError(f"table {config['table']}: needs a model, a fold and a seed; found {dict(config)}")
        taken = [bound for bound in BOUNDS if bound in config["models"]]
        if taken:
            raise InputError(f"table {config['table']}: a model may not be called {taken[0]}; rename it in the config")
        return cls(
            name=config["table"],
            dataset=config["dataset"],
            kind=config["kind"],
            models=tuple(config["models"]),
            folds=int(config["folds"]),
            by=config["by"],
            labels=dict(config.get("labels") or {}),
            published=published_paths(config.get("published")),
            compare=dict(config.get("compare") or {}),
            vary=config.get("vary"),
            values=dict(config.get("values") or {}),
            group_by=config.get("group_by"),
            seeds=int(config.get("seeds", 1)),
            data=config.get("data"),
        )

    @property
    def data_names(self) -> set[str]:
        """What published figures may call these data: the dataset's name; ARCH by its kind, too."""
        return {self.data or self.dataset} | ({self.kind} & {"arch"})

    def label(self, model: str) -> str:
        """Return what a page calls a row of ours."""
        return self.labels.get(model, model)

    def labelled(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return tidy rows (``row, source``) in which ours go by their labels."""
        return rows.assign(row=rows["row"].where(rows["source"] != "ours", rows["row"].map(self.label)))

    @property
    def runs(self) -> int:
        """How many trainings each model has."""
        return self.folds * self.seeds

    def part_of(self, run: int) -> int:
        """Return the number of the test part of a run: runs of one part were tested on the same queries."""
        return 0 if self.by == "split" else run % self.folds

    @property
    def unit(self) -> str:
        """What one of the repeats is called: a fold has its own test images, a run only its own seed."""
        return "run" if self.by == "split" else "fold"
