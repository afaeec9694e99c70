"""Training curves as a picture that is really drawn."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from lile.errors import InputError
from lile.reporting.curves import plot_curves, read_history
from lile.reporting.spec import TableSpec

SPEC = TableSpec(name="mine", dataset="mine", kind="pairs", models=("lile",), folds=5, by="cross_validation")


def history(seed: int, epochs: int = 8) -> list[dict]:
    noise = np.random.default_rng(seed).normal(0, 4, epochs)
    recalls = [200 * (1 - np.exp(-epoch / 3)) + noise[epoch] for epoch in range(epochs)]
    return [
        {
            "epoch": epoch + 1,
            "loss": float(np.exp(-epoch / 4)) + seed / 20,
            "alpha": 0.5 + epoch * (seed - 2) / 100,
            "validation": {"Rsum": float(recall)},
            "best": bool(recall == max(recalls[: epoch + 1])),
        }
        for epoch, recall in enumerate(recalls)
    ]


def test_a_picture_with_ink_in_every_panel(tmp_path):
    path = tmp_path / "curves.png"
    plot_curves(
        SPEC, {name: [history(fold + shift) for fold in range(5)] for name, shift in (("a", 0), ("b", 1))}, path
    )
    with Image.open(path) as picture:
        grey = np.asarray(picture.convert("L"))
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert grey.shape == (780, 1800)
    panels = [part for row in np.split(grey[60:], 2, axis=0) for part in np.split(row, 3, axis=1)]
    assert all((panel < 200).sum() > 1000 for panel in panels)
    assert len(np.unique(colours, axis=0)) > 50
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]


def test_one_epoch_can_be_drawn(tmp_path):
    plot_curves(SPEC, {"lile": [history(0, epochs=1)]}, tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 1000


ZERO_SHOT = [{"epoch": 0, "alpha": None, "validation": {"Rsum": 80.0}, "best": True}]


def ink(path) -> int:
    with Image.open(path) as picture:
        return int((np.asarray(picture.convert("L")) < 200).sum())


def test_rows_without_training_are_named_and_not_drawn(tmp_path):
    plot_curves(SPEC, {"lile": [history(0)]}, tmp_path / "one.png")
    plot_curves(SPEC, {"lile": [history(0)], "clip": [ZERO_SHOT], "ensemble": [[]]}, tmp_path / "named.png")
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "named.png") as named:
        assert one.width == named.width
        assert one.height < named.height < one.height + 100
    plot_curves(SPEC, {"clip": [ZERO_SHOT, ZERO_SHOT]}, tmp_path / "none.png")
    assert ink(tmp_path / "named.png") > ink(tmp_path / "none.png") > 100


def test_a_model_without_alpha_has_two_curves(tmp_path):
    without = [{**epoch, "alpha": None} for epoch in history(0)]
    for name, epochs in (("with", history(0)), ("without", without)):
        plot_curves(SPEC, {"vse": [epochs]}, tmp_path / f"{name}.png")
    with Image.open(tmp_path / "with.png") as full, Image.open(tmp_path / "without.png") as less:
        left, right = (np.asarray(picture.convert("L")) < 100 for picture in (full, less))
    assert left[110:350, 1300:1750].sum() > 2 * right[110:350, 1300:1750].sum()  # the words "no alpha" alone
    assert right[110:350, 700:1150].sum() > 500


def test_the_same_curves_are_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        plot_curves(SPEC, {"lile": [history(0)]}, tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("key", ["epoch", "loss", "alpha", "validation"])
def test_an_epoch_without_a_figure_names_its_fold(tmp_path, key):
    damaged = history(1)
    del damaged[3][key]
    with pytest.raises(InputError, match=f"lile, fold 1: history.jsonl lacks '{key}'"):
        plot_curves(SPEC, {"lile": [history(0), damaged]}, tmp_path / "none.png")
    assert not list(tmp_path.iterdir())


def test_histories_are_read_line_by_line(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text("".join(json.dumps(epoch) + "\n" for epoch in history(3)), encoding="utf-8")
    assert [epoch["epoch"] for epoch in read_history(path)] == list(range(1, 9))


def test_a_damaged_history_is_named_and_an_empty_one_is_of_a_row_that_is_not_trained(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text("", encoding="utf-8")
    assert read_history(path) == []
    path.write_text('{"epoch": 1', encoding="utf-8")
    with pytest.raises(InputError, match="not JSON lines"):
        read_history(path)
    with pytest.raises(InputError, match="no such file"):
        read_history(tmp_path / "absent.jsonl")
