"""Training curves as a picture that is really drawn."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from lile.errors import InputError
from lile.reporting.curves import plot_curves, read_history


def history(seed: int, epochs: int = 8) -> list[dict]:
    noise = np.random.default_rng(seed).normal(0, 4, epochs)
    recalls = [200 * (1 - np.exp(-epoch / 3)) + noise[epoch] for epoch in range(epochs)]
    return [
        {
            "epoch": epoch + 1,
            "loss": float(np.exp(-epoch / 4)) + seed / 20,
            "validation": {"Rsum": float(recall)},
            "best": bool(recall == max(recalls[: epoch + 1])),
        }
        for epoch, recall in enumerate(recalls)
    ]


def test_a_picture_with_ink_in_both_halves(tmp_path):
    path = tmp_path / "curves.png"
    plot_curves({f"lile fold {fold}": history(fold) for fold in range(5)}, path)
    with Image.open(path) as picture:
        grey = np.asarray(picture.convert("L"))
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert grey.shape[1] == 1080
    half = grey.shape[1] // 2
    assert (grey[:, :half] < 200).sum() > 1000
    assert (grey[:, half:] < 200).sum() > 1000
    assert len(np.unique(colours, axis=0)) > 50
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]


def test_one_epoch_can_be_drawn(tmp_path):
    plot_curves({"lile fold 0": history(0, epochs=1)}, tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 1000


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(InputError, match="no epoch to draw"):
        plot_curves({}, tmp_path / "none.png")
    assert not list(tmp_path.iterdir())


def test_histories_are_read_line_by_line(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text("".join(json.dumps(epoch) + "\n" for epoch in history(3)), encoding="utf-8")
    assert [epoch["epoch"] for epoch in read_history(path)] == list(range(1, 9))


@pytest.mark.parametrize(("text", "message"), [("", "no epoch"), ('{"epoch": 1', "not JSON lines")])
def test_a_damaged_history_is_named(tmp_path, text, message):
    path = tmp_path / "history.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_history(path)
    with pytest.raises(InputError, match="no such file"):
        read_history(tmp_path / "absent.jsonl")
