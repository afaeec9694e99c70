"""What every kind of training of a row shares: its validation part and its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from torch import nn

from lile.evaluation.grid import Scores
from lile.evaluation.inputs import FoldInputs, images_with_role
from lile.evaluation.ranks import fold_ranks
from lile.evaluation.recalls import RECALLS, figures_of
from lile.evaluation.relevance import DIRECTIONS
from lile.files import write_json
from lile.models.weights import write_weights
from lile.seeds import seed_for
from lile.training.facts import run_facts
from lile.training.progress import State, write_history


@dataclass(frozen=True)
class ValidationPart:
    """The images that choose a fold's epoch, never its test images, with all their descriptions."""

    image_ids: list[str]
    text_ids: list[str]
    groups: list[str]
    """Of each image."""
    descriptions: pd.DataFrame

    @classmethod
    def of(cls, inputs: FoldInputs, fold: int, most: int, seed: int) -> Self:
        """Return the fold's validation part, or a draw of ``most`` of its images.

        Args:
            inputs: the fold's tables.
            fold: its number.
            most: so many images at most.
            seed: the fold's own.
        """
        ids = images_with_role(inputs.folds, fold, "validation")
        if len(ids) > most:
            draw = np.random.default_rng(seed_for(seed, "validation")).choice(len(ids), most, replace=False)
            ids = [ids[i] for i in sorted(draw)]
        group_of = dict(zip(inputs.images["image_id"], inputs.images["group"], strict=True))
        descriptions = inputs.descriptions_of(ids)
        text_ids = descriptions["text_id"].unique().tolist()
        return cls(ids, text_ids, [group_of[image_id] for image_id in ids], descriptions)

    def figures(self, scores: np.ndarray | Scores) -> dict[str, float]:
        """Return the six recalls of the own-caption protocol under flat names, and ``Rsum``.

        Args:
            scores: of this part's images and texts.
        """
        ranks = fold_ranks(scores, self.image_ids, self.text_ids, self.groups, self.descriptions, protocols=("own",))[
            "own"
        ]
        figures = {way: figures_of(ranks[way]) for way in DIRECTIONS}
        recalls = {f"{way}/{name}": figures[way][name] for way in DIRECTIONS for name in RECALLS}
        return {**recalls, "Rsum": sum(recalls.values())}


def write_fold(out: Path, model: nn.Module, record: Mapping[str, Any], state: State) -> None:
    """Write ``model.safetensors``, ``history.jsonl`` and, last, ``run.json`` of a trained fold into ``out``.

    Args:
        out: the folder; each file is renamed into place.
        model: with the weights that are kept.
        record: content of ``run.json``.
        state: at the end of training.
    """
    about = {name: record[name] for name in ("dataset", "model", "fold", "config", "encoders")}
    write_weights(out / "model.safetensors", model.state_dict(), about)
    write_history(out / "history.jsonl", state.history)
    write_json(out / "run.json", record)


def run_record(
    config: Mapping[str, Any],
    model: nn.Module,
    preset: str,
    knobs: Mapping[str, Any],
    encoders: Mapping[str, Mapping[str, Any]],
    digests: Mapping[str, str],
    state: State,
    code: str,
) -> dict[str, Any]:
    """Return the content of ``run.json``.

    Args:
        config: as the workflow passes it: ``dataset, model, fold, seed, ...``.
        model: whose trained parameters are counted.
        preset: what a table calls the row.
        knobs: the model's block with every default.
        encoders: what each encoder says of itself, ``image`` and ``text``.
        digests: of the input files that all folds share.
        state: at the end of training.
        code: fingerprint.
    """
    return {
        **{name: config[name] for name in ("dataset", "model", "fold", "seed")},
        "preset": preset,
        "config": dict(knobs),
        **run_facts(config, state, code),
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "encoders": encoders,
        "inputs": dict(digests),
    }
