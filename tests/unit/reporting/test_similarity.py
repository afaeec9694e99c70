"""The similarity matrices: a bright diagonal, a matrix per model, and who is named instead."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lile.reporting.similarity import plot_similarity, read_batch, share_on_diagonal


def test_an_own_text_is_first_only_where_it_is_above_every_other():
    scores_BB = np.array([[0.9, 0.1, 0.2], [0.5, 0.5, 0.1], [0.3, 0.2, 0.1]])
    assert share_on_diagonal(scores_BB) == pytest.approx(100 / 3)


def test_brighter_is_more_alike(spec, tmp_path):
    plot_similarity(spec(), {"good": np.eye(8)}, tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as picture:
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    near = [np.abs(colours.astype(int) - colour).max(axis=1) <= 3 for colour in ((253, 231, 55), (0, 34, 77))]
    yellow, blue = (int(pixels.sum()) for pixels in near)  # the map's ends
    assert 5 * yellow < blue < 9 * yellow  # 8 cells against 56
    assert yellow > 100


def test_a_matrix_for_each_model_that_scored_all_pairs(spec, tmp_path):
    scores = {f"model_{number}": np.random.default_rng(number).random((5, 5)) for number in range(4)}
    plot_similarity(spec(), scores, tmp_path / "four.png")
    plot_similarity(spec(), {**scores, "fifth": np.eye(5)}, tmp_path / "five.png")
    plot_similarity(spec(), {**scores, "cross": None}, tmp_path / "named.png")
    plot_similarity(spec(), {"cross": None}, tmp_path / "none.png")
    pictures = {path.stem: Image.open(path) for path in tmp_path.glob("*.png")}
    assert pictures["five"].height > 1.5 * pictures["four"].height
    assert pictures["named"].size == pictures["four"].size
    assert (np.asarray(pictures["none"].convert("L")) < 200).sum() > 100


def test_a_batch_is_read_where_there_is_one(tmp_path):
    np.savez(tmp_path / "with.npz", batch_scores=np.eye(3))
    np.savez(tmp_path / "without.npz", own_i2t=np.arange(3))
    assert np.array_equal(read_batch(tmp_path / "with.npz"), np.eye(3))
    assert read_batch(tmp_path / "without.npz") is None
