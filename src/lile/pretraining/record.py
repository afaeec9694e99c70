"""The files that say what a pretraining did: record, predictions, confusion matrix, what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lile.files import sha256_of, write_csv, write_json
from lile.pretraining.census import Census
from lile.pretraining.config import PretrainConfig
from lile.pretraining.division import Division
from lile.pretraining.plot import draw_confusion
from lile.pretraining.scores import (
    Interval,
    accuracy,
    balanced_accuracy,
    bootstrap,
    confusion_of,
    wilson,
)
from lile.pretraining.sources import Finding
from lile.seeds import seed_for
from lile.training.facts import run_facts
from lile.training.progress import State


def write_held_out(out: Path, census: Census, division: Division, probabilities_NC: np.ndarray) -> None:
    """Write ``held_out.csv``: of every held-out picture its class, what it was taken for, and how sure that was."""
    items = [census.items[place] for place in division.held_out]
    labels = [census.labels[place] for place in division.held_out]
    predicted = probabilities_NC.argmax(1)
    rows = np.arange(len(items))
    table = pd.DataFrame(
        {
            "picture": [item.name for item in items],
            "group": [item.group for item in items],
            "label": [item.label for item in items],
            "predicted": [census.classes[number] for number in predicted],
            "probability": probabilities_NC[rows, predicted].round(6),
            "probability_of_label": probabilities_NC[rows, labels].round(6),
        }
    )
    write_csv(out / "held_out.csv", table)


def write_report(out: Path, census: Census) -> None:
    """Write ``report.csv``: every picture, row or file that was left out or is odd; its head alone where none is."""
    write_csv(out / "report.csv", pd.DataFrame(census.report, columns=list(Finding._fields), dtype=object))


def write_confusion(
    out: Path, name: str, matrix_CC: np.ndarray, census: Census, figures: Mapping[str, Any], said: str
) -> None:
    """Write ``confusion.csv`` (a row for each true class) and ``confusion.png``."""
    table = pd.DataFrame(matrix_CC, columns=census.classes)
    table.insert(0, "is", census.classes)
    write_csv(out / "confusion.csv", table)
    interval = figures["accuracy_interval"]
    ends = f" ({100 * interval['low']:.1f} to {100 * interval['high']:.1f})" if interval else ""
    title = (
        f"{name}: {figures['images']:,} held-out pictures, accuracy {100 * figures['accuracy']:.1f} %{ends}\n"
        f"balanced accuracy {100 * figures['balanced_accuracy']:.1f} %"
    )
    draw_confusion(out / "confusion.png", matrix_CC, census.classes, title, said)


def held_out_figures(census: Census, division: Division, probabilities_NC: np.ndarray, seed: int) -> dict[str, Any]:
    """Return accuracy, balanced accuracy and recalls with their intervals, and the confusion matrix.

    Where slides or patients are known they are drawn again; else each picture stands for itself.
    """
    labels = [census.labels[place] for place in division.held_out]
    predicted = probabilities_NC.argmax(1).tolist()
    matrix_CC = confusion_of(labels, predicted, len(census.classes))
    groups = [division.groups[place] for place in division.held_out]
    drawn = bootstrap(labels, predicted, groups, len(census.classes), seed_for(seed, "bootstrap"))
    whole: Interval | None = drawn[0] if drawn else None
    if not census.grouped:
        whole = wilson(int(np.trace(matrix_CC)), len(labels))
    counts_C = matrix_CC.sum(1)
    return {
        "images": len(labels),
        "accuracy": round(accuracy(matrix_CC), 6),
        "accuracy_interval": whole.to_dict() if whole else None,
        "balanced_accuracy": round(balanced_accuracy(matrix_CC), 6),
        "balanced_accuracy_interval": drawn[1].to_dict() if drawn else None,
        "recalls": {name: round(float(matrix_CC[n, n] / counts_C[n]), 6) for n, name in enumerate(census.classes)},
        "confusion": matrix_CC.tolist(),
    }


def data_facts(census: Census, division: Division, config: PretrainConfig) -> dict[str, Any]:
    """Return what a record says of the data: digest, counts per class and part, how it was divided, warnings."""
    counts = {
        part: dict(sorted(Counter(census.items[place].label for place in places).items()))
        for part, places in division.parts().items()
    }
    groups = {part: len({division.groups[place] for place in places}) for part, places in division.parts().items()}
    left_out = Counter(line.reason for line in census.report if line.status == "dropped")
    return {
        "source": census.source,
        "kind": config.data.kind,
        "digest": census.digest,
        "images": len(census.items),
        "classes": census.classes,
        "counts": counts,
        "groups": groups if census.grouped else None,
        "divided_by": division.by,
        "left_out": dict(sorted(left_out.items())),
        "warnings": division.warnings,
        "note": config.data.note,
    }


def write_record(out: Path, config: Mapping[str, Any], content: Mapping[str, Any], state: State, code: str) -> None:
    """Write ``record.json``.

    Args:
        out: the folder, with the weights in it.
        config: as the workflow passes it.
        content: what is this pretraining's own: data, start, held-out figures, seeds.
        state: at the end of training.
        code: fingerprint.
    """
    record = {
        **content,
        "name": config["name"],
        "seed": config["seed"],
        "weights_sha256": sha256_of(out / "model.safetensors"),
        **run_facts(config, state, code),
    }
    write_json(out / "record.json", record)
