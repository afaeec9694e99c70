"""A fold's evaluation: the same bytes whole, killed and started again, or shared among jobs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lile.errors import InputError
from lile.evaluation import fold as fold_module
from lile.evaluation import grid
from lile.evaluation.blocks import BlockStore
from lile.evaluation.fold import evaluate_fold, score_share
from lile.evaluation.inputs import images_with_role, load_fold
from lile.evaluation.metrics import fold_metrics
from lile.evaluation.relevance import DIRECTIONS, PROTOCOLS
from lile.evaluation.score import Scorer, score_matrix
from lile.features.shard_writer import write_store
from lile.features.store import TokenStore
from lile.lock import work_lock
from lile.models.weights import load_weights, write_weights

BLOCKS = 8  # 4 images x 8 texts in blocks of 2 x 2


@pytest.fixture
def case(fold_case, tmp_path, monkeypatch):
    """(config, files, [weights]): a fold with a model as it is initialised, and small blocks."""
    monkeypatch.setattr(grid, "BLOCK", 2)
    inputs = load_fold(fold_case.config, fold_case.files)
    write_weights(tmp_path / "model.safetensors", inputs.model.state_dict(), {})
    return fold_case.config, fold_case.files, [tmp_path / "model.safetensors"]


@pytest.fixture
def scored(monkeypatch):
    """The number of blocks that are computed."""
    count, real = [0], BlockStore.write

    def write(*args):
        count[0] += 1
        real(*args)

    monkeypatch.setattr(BlockStore, "write", write)
    return count


def outputs(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_figures_are_those_of_the_whole_matrix(case, tmp_path, scored):
    config, files, weights = case
    found = evaluate_fold(*case, tmp_path / "out", tmp_path / "work")
    assert scored == [BLOCKS]
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == found
    assert list((tmp_path / "work").iterdir()) == []
    inputs = load_fold(config, files)
    load_weights(inputs.model, *weights)
    inputs.model.eval()
    ids = images_with_role(inputs.folds, 0, "test")
    descriptions = inputs.descriptions_of(ids)
    texts = descriptions["text_id"].unique().tolist()
    scores = score_matrix(Scorer([inputs], torch.device("cpu")), ids, texts, label="test")
    images = inputs.images[inputs.images["image_id"].isin(ids)]
    expected, ranks = fold_metrics(scores, ids, texts, images, descriptions, fold=0)
    assert found == expected
    with np.load(tmp_path / "out" / "ranks.npz") as kept:
        assert {name: kept[name].tolist() for name in ranks} == {name: value.tolist() for name, value in ranks.items()}
        owners = descriptions.drop_duplicates("image_id").set_index("image_id")["text_id"]
        rows, columns = zip(
            *[(ids.index(one), texts.index(owners[one])) for one in kept["batch_image_ids"]], strict=True
        )
        np.testing.assert_allclose(kept["batch_scores"], scores[np.ix_(rows, columns)], rtol=1e-5)
        assert len(rows) > 1


@pytest.mark.parametrize("shares", [1, 2, 3, 8, 11])
def test_shares_give_the_same_bytes(case, tmp_path, scored, shares):
    evaluate_fold(*case, tmp_path / "whole", tmp_path / "work")
    scored[0] = 0
    files = [tmp_path / f"share-{share}.npz" for share in range(shares)]
    for share, file in enumerate(files):
        score_share(*case, file, tmp_path / f"work-{share}", share, shares)
        assert list((tmp_path / f"work-{share}").iterdir()) == []
    assert scored == [BLOCKS]
    evaluate_fold(*case, tmp_path / "gathered", tmp_path / "work", files)
    assert scored == [BLOCKS], "nothing is left to compute where they are gathered"
    assert outputs(tmp_path / "gathered") == outputs(tmp_path / "whole")


def test_all_files_are_there_and_follow_the_config(case, tmp_path, scored):
    config, *others = case
    evaluate_fold(config, *others, tmp_path / "out", tmp_path / "work")
    runs = {f"trec/{name}.{way}.{kind}.gz" for name in PROTOCOLS for way in DIRECTIONS for kind in ("run", "qrels")}
    assert set(outputs(tmp_path / "out")) == {"metrics.json", "ranks.npz", *runs}
    asked = {**config, "evaluation": {"block_images": 3, "trec_depth": 0}}
    found = evaluate_fold(asked, *others, tmp_path / "out", tmp_path / "work")
    assert set(outputs(tmp_path / "out")) == {"metrics.json", "ranks.npz"}
    assert list(found["protocols"]) == ["own", "group", "own_blocks"]
    assert found["blocks"] == {"images": 3, "count": 1, "left_out": 1}


def test_too_few_images_for_a_block_are_refused_before_anything_is_scored(case, tmp_path, scored):
    config, *others = case
    asked = {**config, "evaluation": {"block_images": 5, "trec_depth": 0}}
    with pytest.raises(InputError, match="only 4 test images"):
        evaluate_fold(asked, *others, tmp_path / "out", tmp_path / "work")
    assert scored == [0]


def test_a_share_that_is_lost_is_computed_where_they_are_gathered(case, tmp_path, scored):
    evaluate_fold(*case, tmp_path / "whole", tmp_path / "work")
    score_share(*case, tmp_path / "1.npz", tmp_path / "work", 1, 2)
    scored[0] = 0
    evaluate_fold(*case, tmp_path / "gathered", tmp_path / "work", [tmp_path / "1.npz"])
    assert scored == [BLOCKS // 2]
    assert outputs(tmp_path / "gathered") == outputs(tmp_path / "whole")


def test_a_share_of_other_weights_is_not_taken(case, tmp_path, scored):
    config, files, _ = case
    inputs = load_fold(config, files)
    write_weights(tmp_path / "other", {k: v + 0.01 for k, v in inputs.model.state_dict().items()}, {})
    score_share(config, files, [tmp_path / "other"], tmp_path / "0.npz", tmp_path / "work", 0, 1)
    evaluate_fold(*case, tmp_path / "whole", tmp_path / "work")
    scored[0] = 0
    evaluate_fold(*case, tmp_path / "gathered", tmp_path / "work", [tmp_path / "0.npz"])
    assert scored == [BLOCKS]
    assert outputs(tmp_path / "gathered") == outputs(tmp_path / "whole")


DRIVER = """
import os, signal, sys
from pathlib import Path
from lile.evaluation import blocks, grid
from lile.evaluation.blocks import BlockStore
from lile.evaluation.inputs import FoldFiles
from lile.evaluation.fold import evaluate_fold
import json

told = json.loads(sys.argv[1])
grid.BLOCK = 2
real, written = blocks.np.save, []

def save(handle, array):
    written.append(0)
    if len(written) == told["dies_in"]:
        handle.write(b"half a block")
        handle.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle, array)

blocks.np.save = save
stores = [[Path(p) for p in told["files"][name]] for name in ("images_store", "texts_store")]
tables = [Path(told["files"][name]) for name in ("images", "descriptions", "folds")]
weights, out, work = (Path(told[name]) for name in ("weights", "out", "work"))
evaluate_fold(told["config"], FoldFiles(*stores, *tables), [weights], out, work)
sys.stdout.write(str(len(written)))
"""


@pytest.mark.slow
def test_a_real_sigkill_costs_one_block_and_changes_no_byte(case, tmp_path):
    config, files, weights = case
    names = {name: [str(path) for path in getattr(files, name)] for name in ("images_store", "texts_store")}
    names |= {name: str(getattr(files, name)) for name in ("images", "descriptions", "folds")}
    evaluate_fold(*case, tmp_path / "whole", tmp_path / "elsewhere")

    def run(dies_in):
        folders = {"weights": str(weights[0]), "out": str(tmp_path / "out"), "work": str(tmp_path / "work")}
        told = {"config": config, "files": names, "dies_in": dies_in, **folders}
        return subprocess.run([sys.executable, "-c", DRIVER, json.dumps(told)], capture_output=True, text=True)

    assert run(6).returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    again = run(0)
    assert again.returncode == 0, again.stderr[-3000:]
    assert again.stdout == "3", "the blocks that were finished are not computed again"
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")
    assert list((tmp_path / "work").iterdir()) == []


def with_another_token(shards: Sequence[Path], path: Path) -> Path:
    with TokenStore(shards) as store:
        tokens, keep = store.read(np.arange(len(store)))
        tokens[0, 0, 0] += 1
        items = [(item_id, tokens[row][keep[row]]) for row, item_id in enumerate(store.ids)]
        write_store(path, items, store.about)
    return path


@pytest.mark.parametrize("what", ["weights", "tokens", "folds"])
def test_a_killed_evaluation_never_goes_on_with_blocks_of_other_inputs(case, tmp_path, monkeypatch, scored, what):
    config, files, weights = case
    with monkeypatch.context() as patch:
        patch.setattr(fold_module, "write_evaluation", lambda *args, **kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            evaluate_fold(*case, tmp_path / "out", tmp_path / "work")
    if what == "weights":
        inputs = load_fold(config, files)
        write_weights(weights[0], {k: v + 0.01 for k, v in inputs.model.state_dict().items()}, {})
    elif what == "folds":
        rows = files.folds.read_text().splitlines()
        files.folds.write_text("\n".join([rows[0], *reversed(rows[1:])]) + "\n")
    else:
        files = replace(files, images_store=[with_another_token(files.images_store, tmp_path / "copy.h5")])
    scored[0] = 0
    evaluate_fold(config, files, weights, tmp_path / "out", tmp_path / "work")
    assert scored == [BLOCKS]


def test_the_same_inputs_go_on(case, tmp_path, monkeypatch, scored):
    with monkeypatch.context() as patch:
        patch.setattr(fold_module, "write_evaluation", lambda *args, **kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            evaluate_fold(*case, tmp_path / "out", tmp_path / "work")
    assert scored == [BLOCKS]
    evaluate_fold(*case, tmp_path / "out", tmp_path / "work")
    assert scored == [BLOCKS]


def test_two_at_a_time_are_refused(case, tmp_path):
    with work_lock(tmp_path / "work" / "lock"), pytest.raises(InputError, match="being worked on"):
        evaluate_fold(*case, tmp_path / "out", tmp_path / "work")


def test_maps_that_are_not_finite_name_their_item(case, tmp_path):
    config, files, weights = case
    broken = load_fold(config, files).model.state_dict()
    name = "text.pool.values.bias"
    broken[name] = torch.full_like(broken[name], float("nan"))
    write_weights(weights[0], broken, {})
    with pytest.raises(InputError, match="vectors of 't200' are not finite"):
        evaluate_fold(*case, tmp_path / "out", tmp_path / "work")


def test_a_share_there_is_not_is_named(case, tmp_path):
    with pytest.raises(InputError, match="share=2: 2 share"):
        score_share(*case, tmp_path / "2.npz", tmp_path / "work", 2, 2)
