"""Run and qrels files: outside tools compute our figures from them, and the same scores give the same bytes."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lile.evaluation import grid, lists
from lile.evaluation.grid import Matrix
from lile.evaluation.metrics import fold_metrics
from lile.evaluation.relevance import relevance_of
from lile.evaluation.trec import RunNames, first_items, ids_of, strictly_falling, write_trec

FILES = {f"{name}.{way}.{kind}.gz" for name in ("own", "group") for way in ("i2t", "t2i") for kind in ("run", "qrels")}


def fold_of(seed=0, images=30, texts=50, levels=9):
    """A fold with ties, shared texts and groups: (scores, image ids, text ids, images, descriptions)."""
    draw = np.random.default_rng(seed)
    image_ids = [f"an image {n}" for n in range(images)]
    owners = [*image_ids, *draw.choice(image_ids, 45)]
    words = [f"t{n}" for n in draw.integers(0, texts, len(owners))]
    descriptions = pd.DataFrame({"image_id": owners, "text_id": words})
    descriptions["description_id"] = [f"{owner}#{n}" for n, owner in enumerate(owners)]
    tables = pd.DataFrame({"image_id": image_ids, "group": [f"g{n}" for n in draw.integers(0, 9, images)]})
    scores = draw.integers(-levels, levels, (images, texts)).astype(np.float32) / levels
    return scores, image_ids, [f"t{n}" for n in range(texts)], tables, descriptions


def write(folder, fold, depth):
    scores, image_ids, text_ids, images, descriptions = fold
    relevance = relevance_of(image_ids, text_ids, images["group"].tolist(), descriptions)
    names = RunNames(image_ids, descriptions["description_id"].tolist(), "lile")
    write_trec(folder, Matrix(scores), relevance, names, depth)


def lines(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [line.split(" ") for line in file.read().splitlines()]


@pytest.fixture
def ranx(tmp_path, monkeypatch):
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "ir_datasets"))  # it makes this folder when imported
    import ranx

    return ranx


@pytest.mark.slow
@pytest.mark.parametrize("depth", [None, 10])
def test_ranx_computes_the_same_figures(tmp_path, ranx, depth):
    write(tmp_path, fold_of(), depth)
    content, arrays = fold_metrics(*fold_of())
    for name in ("own", "group"):
        for way in ("i2t", "t2i"):
            qrels = ranx.Qrels.from_file(str(tmp_path / f"{name}.{way}.qrels.gz"), kind="gz")
            run = ranx.Run.from_file(str(tmp_path / f"{name}.{way}.run.gz"), kind="gz")
            wanted = ["hit_rate@1", "hit_rate@5", "hit_rate@10", "map", "r-precision", "mrr"]
            theirs = ranx.evaluate(qrels, run, wanted)
            ours = {key: value / 100 for key, value in content["protocols"][name][way].items() if key[-1] not in "ge"}
            recalls = [ours["R1"], ours["R5"], ours["R10"]]
            assert [theirs[key] for key in wanted[:3]] == pytest.approx(recalls), (name, way)
            if depth is None:
                reciprocal = np.mean(1 / (arrays[f"{name}_{way}"] + 1))
                assert [theirs[key] for key in wanted[3:]] == pytest.approx([ours["mAP"], ours["Rprec"], reciprocal])
                each = arrays[f"{name}_{way}_ap"]
                assert sorted(ranx.evaluate(qrels, run, "map", return_mean=False)) == pytest.approx(sorted(each))
            else:
                assert theirs["map"] <= ours["mAP"] + 1e-12  # what is right below the depth counts as never found
                if name == "own":  # no query has more right items than the run keeps
                    assert theirs["r-precision"] == pytest.approx(ours["Rprec"])


@pytest.mark.parametrize("size", [1, 7, 1024])
def test_a_cut_run_is_the_head_of_the_whole_in_the_order_of_our_figures(tmp_path, monkeypatch, size):
    monkeypatch.setattr(grid, "BLOCK", size)
    monkeypatch.setattr(lists, "LIST_PAIRS", 100 * size)
    fold = fold_of(1)
    write(tmp_path / "whole", fold, None)
    write(tmp_path / "cut", fold, 8)
    _, arrays = fold_metrics(*fold)
    for name in ("own", "group"):
        for way, ids in (("i2t", "image_ids"), ("t2i", "description_ids")):
            right = {(query, item) for query, _, item, _ in lines(tmp_path / "cut" / f"{name}.{way}.qrels.gz")}
            whole, cut = (
                pd.DataFrame(lines(tmp_path / part / f"{name}.{way}.run.gz")).astype({3: int, 4: np.float32})
                for part in ("whole", "cut")
            )
            gallery = len(arrays["description_ids" if way == "i2t" else "image_ids"])
            assert len(whole) == len(arrays[ids]) * gallery
            pd.testing.assert_frame_equal(whole[whole[3] <= 8].reset_index(drop=True), cut)
            firsts = {}
            for query, rows in whole.groupby(0):
                assert rows[3].tolist() == list(range(1, gallery + 1))
                assert (np.diff(rows[4]) < 0).all(), "strictly, and read as single precision"
                firsts[query] = next(n for n, item in enumerate(rows[2]) if (query, item) in right)
            assert [firsts[query] for query in ids_of(arrays[ids])] == arrays[f"{name}_{way}"].tolist()


def test_the_lines_are_those_of_trec(tmp_path):
    descriptions = pd.DataFrame({"image_id": ["a", "b"], "text_id": ["x", "y"], "description_id": ["a 1", "b%1"]})
    images = pd.DataFrame({"image_id": ["a", "b"], "group": ["g", "h"]})
    write(
        tmp_path,
        (np.array([[0.5, 0.5], [0.25, -1]], dtype=np.float32), ["a", "b"], ["x", "y"], images, descriptions),
        2,
    )
    assert gzip.decompress((tmp_path / "own.i2t.run.gz").read_bytes()).decode() == (
        "a Q0 b%251 1 0.5 lile\na Q0 a%201 2 0.49999997 lile\nb Q0 a%201 1 0.25 lile\nb Q0 b%251 2 -1 lile\n"
    )
    assert gzip.decompress((tmp_path / "own.t2i.qrels.gz").read_bytes()) == b"a%201 0 a 1\nb%251 0 b 1\n"


def test_the_same_scores_give_the_same_bytes_and_no_time(tmp_path, monkeypatch):
    write(tmp_path / "one", fold_of(2), 5)
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr(grid, "BLOCK", 4)
    write(tmp_path / "another name", fold_of(2), 5)
    for name in FILES:
        assert (tmp_path / "another name" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_a_depth_of_nothing_leaves_an_empty_folder(tmp_path):
    write(tmp_path, fold_of(), 3)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    write(tmp_path, fold_of(), 0)
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), unique=True))
def test_ids_have_no_white_space_and_stay_different(names):
    kept = ids_of(names).tolist()
    assert len(set(kept)) == len(names)
    assert all(name.split() == [name] for name in kept)


def test_plain_ids_stay_as_they_are():
    assert ids_of(["1000268201.jpg#0", "Größe/α-β"]).tolist() == ["1000268201.jpg#0", "Größe/α-β"]


@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32) | st.sampled_from([0.0, -0.0, 1.0]), min_size=1))
@settings(max_examples=200)
def test_scores_fall_strictly_and_are_the_same_where_they_did(values):
    scores = np.sort(np.array(values, dtype=np.float32))[::-1]
    found = strictly_falling(scores)
    assert found.dtype == np.float32
    assert (np.diff(found.astype(np.float64)) < 0).all()
    if (np.diff(scores) < 0).all():
        np.testing.assert_array_equal(found, scores)
    expected = [scores[0]]
    for score in scores[1:]:  # one after the other
        expected.append(min(score, np.nextafter(expected[-1], np.float32(-np.inf))))
    np.testing.assert_array_equal(found, np.array(expected, dtype=np.float32))


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1), st.integers(1, 12) | st.none())
@settings(max_examples=200)
def test_the_first_items_are_the_head_of_a_sorted_list(items, depth):
    scores = np.array([score for score, _ in items], dtype=np.float32)
    right = np.flatnonzero([flag for _, flag in items])
    expected = sorted(range(len(items)), key=lambda place: (-items[place][0], items[place][1], place))[:depth]
    assert first_items(scores, right, depth).tolist() == expected
