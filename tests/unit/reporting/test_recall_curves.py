"""Recall curves: their values against counting, and pictures that are really drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lile.evaluation.recalls import chance_of
from lile.evaluation.relevance import relevance_of, relevant_counts
from lile.reporting.recall_curves import ablation_points, depths_of, plot_recalls, ranked_run, read_ranked, recall_curve
from lile.reporting.style import looks


def ink(path, left=0.0, top=0.0) -> int:
    with Image.open(path) as picture:
        grey = np.asarray(picture.convert("L"))
    return int((grey[int(top * grey.shape[0]) :, int(left * grey.shape[1]) :] < 200).sum())


def test_a_curve_is_the_share_of_queries_with_a_hit_so_far():
    ranks = np.array([0, 4, 4, 9, 30])
    curve = recall_curve(ranks, np.arange(1, 101))
    assert [curve[depth - 1] for depth in (1, 4, 5, 10, 30, 31)] == [20, 20, 60, 80, 80, 100]
    assert curve.tolist() == [100 * np.mean(ranks < depth) for depth in range(1, 101)]


def test_right_items_are_counted_as_the_evaluation_does(fold_of):
    arrays = fold_of(12, 5.0, seed=1).arrays
    run = ranked_run(arrays)
    images, owners = arrays["image_ids"].tolist(), arrays["image_ids"][arrays["description_image"]]
    texts = [f"t{number}" for number in range(len(owners))]
    frame = pd.DataFrame({"image_id": owners, "text_id": texts})
    counts = relevant_counts(relevance_of(images, texts, arrays["image_groups"].tolist(), frame))
    for (protocol, way), relevant in run.relevant.items():
        assert np.array_equal(relevant, counts[protocol][way])
    assert (run.gallery("i2t"), run.gallery("t2i")) == (len(texts), len(images))
    assert chance_of(run.relevant["own", "t2i"], run.gallery("t2i"))["R1"] == pytest.approx(100 / len(images))


def test_depths_end_with_the_smallest_gallery(fold_of):
    runs = {"a": [ranked_run(fold_of(groups, 5.0, seed=1).arrays) for groups in (5, 200)]}
    small = runs["a"][0]
    assert depths_of(runs, "t2i").tolist() == list(range(1, len(small.ranks["own", "i2t"]) + 1))
    assert depths_of({"a": runs["a"][1:]}, "t2i")[-1] == 100


def test_a_picture_with_a_panel_for_each_direction_and_protocol(fold_of, tidy, spec, tmp_path):
    runs = {name: [ranked_run(fold_of(40, 10.0, seed=fold).arrays) for fold in range(2)] for name in "abc"}
    rows = tidy({name: [1, 2, 3, 4, 5, 6, 21] for name in "abc"}, protocols=("own", "group"))
    plot_recalls(spec(), runs, rows, tmp_path / "plain.png")
    with Image.open(tmp_path / "plain.png") as picture:
        panels = np.asarray(picture.convert("L"))[:, : int(0.77 * picture.width)]
    for part in (part for row in np.array_split(panels, 2, axis=0) for part in np.array_split(row, 2, axis=1)):
        assert (part < 200).sum() > 1000
    plot_recalls(spec(vary="steps", values={"a": 1, "b": 2, "c": 3}), runs, rows, tmp_path / "ablation.png")
    with Image.open(tmp_path / "plain.png") as plain, Image.open(tmp_path / "ablation.png") as more:
        assert more.height == pytest.approx(1.5 * plain.height, abs=2)
    assert ink(tmp_path / "ablation.png", top=0.68) > 1000
    plot_recalls(spec(), runs, rows, tmp_path / "again.png")
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "again.png").read_bytes()


def test_ablation_bars_are_intervals_where_there_are_any(fold_of, tidy, spec):
    rows = tidy({"a": [1, 2, 3, 4, 5, 6, 21.0], "b": [1, 2, 3, 4, 5, 6, 30.0]}, std=2.0)
    about = spec(vary="steps", values={"b": 1, "a": 4, "gone": 7})
    assert sorted(ablation_points(about, rows)) == [(1, 30, 2, 2), (4, 21, 2, 2)]
    with_intervals = rows.assign(low=rows["mean"] - 1, high=rows["mean"] + 3)
    assert sorted(ablation_points(about, with_intervals)) == [(1, 30, 1, 3), (4, 21, 1, 3)]


def test_many_rows_all_look_different_and_have_a_legend(fold_of, tidy, spec, tmp_path):
    assert len({tuple(map(str, look.values())) for look in looks(100)}) == 100
    runs = {f"row_{number}": [ranked_run(fold_of(40, 10.0, seed=number).arrays)] for number in range(30)}
    plot_recalls(spec(), runs, tidy({}), tmp_path / "many.png")
    assert ink(tmp_path / "many.png", left=0.65) > 30 * 100


def test_a_file_gives_its_ranks(fold_of, tmp_path):
    arrays = fold_of(12, 5.0, seed=1).arrays
    np.savez(tmp_path / "ranks.npz", **arrays)
    assert np.array_equal(read_ranked(tmp_path / "ranks.npz").ranks["group", "t2i"], arrays["group_t2i"])
