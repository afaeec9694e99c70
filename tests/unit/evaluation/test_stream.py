"""Scores block by block: what is computed, what is held, what is said, and what stops it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import numpy as np
import pytest
import torch

from lile.errors import InputError
from lile.evaluation import estimate
from lile.evaluation.blocks import BlockStore
from lile.evaluation.estimate import measured_cost
from lile.evaluation.grid import Grid
from lile.evaluation.stream import Source, score_blocks

IMAGES, TEXTS = torch.randn(7, 2, 4, generator=torch.manual_seed(0)), torch.randn(10, 2, 4)


class Case:
    """A scorer and two sources that note what they were asked for."""

    def __init__(self, folder, size=3):
        self.store = BlockStore(folder, Grid(len(IMAGES), len(TEXTS), size))
        self.scored, self.encoded = [], {"images": [], "texts": []}
        self.images, self.texts = self.source("images", IMAGES), self.source("texts", TEXTS)

    def source(self, name, maps):
        def runs(run):
            self.encoded[name].append((run.start, run.stop))
            return maps[run]

        return Source([f"{name[0]}{n}" for n in range(len(maps))], runs)

    def score(self, images, texts):
        self.scored.append((len(images), len(texts)))
        return torch.einsum("imd,tmd->it", images, texts)

    def run(self, blocks=None):
        score_blocks(self.score, self.images, self.texts, self.store, blocks, label="case")

    def matrix(self):
        found = np.full((7, 10), np.nan, dtype=np.float32)
        for block in self.store.grid:
            found[block.rows, block.columns] = self.store.read(block)
        return found


def test_every_block_is_scored_once_and_every_item_encoded_once(tmp_path):
    case = Case(tmp_path)
    case.run()
    np.testing.assert_allclose(case.matrix(), torch.einsum("imd,tmd->it", IMAGES, TEXTS), atol=1e-5)
    assert len(case.scored) == 12
    assert case.encoded["images"] == [(0, 3), (3, 6), (6, 7)]
    assert sorted(case.encoded["texts"]) == [(0, 3), (3, 6), (6, 9), (9, 10)]


def test_finished_blocks_are_neither_scored_nor_encoded_again(tmp_path, caplog):
    first, again = Case(tmp_path), Case(tmp_path)
    first.run(list(first.store.grid)[:8])
    (tmp_path / first.store.grid.block(5).name).write_bytes(b"torn")
    with caplog.at_level(logging.INFO):
        again.run()
    assert len(again.scored) == 5
    assert again.encoded["images"] == [(3, 6), (6, 7)]
    assert "case: 7 of 12 blocks are finished already" in caplog.text
    whole = Case(tmp_path / "whole")
    whole.run()
    np.testing.assert_array_equal(again.matrix(), whole.matrix())
    again.scored.clear()
    again.run()
    assert again.scored == []


def test_a_share_encodes_only_what_it_scores(tmp_path):
    case = Case(tmp_path)
    case.run(case.store.grid.share(5, 6))
    assert case.encoded == {"images": [(6, 7)], "texts": [(6, 9), (9, 10)]}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_block_that_is_not_finite_stops_the_run_names_the_pair_and_is_not_kept(tmp_path, bad):
    case = Case(tmp_path)
    real = case.score

    def score(images, texts):
        scores = real(images, texts)
        if len(case.scored) == 6:
            scores[2, 1] = bad
        return scores

    case.score = score
    with pytest.raises(InputError, match=f"image 'i5' and text 't4' is {bad}"):
        case.run()
    assert [case.store.holds(block) for block in case.store.grid] == [True] * 5 + [False] * 7


def test_the_cost_is_said_before_the_first_block(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(estimate, "WORTH_MEASURING", 1)
    case = Case(tmp_path)
    real = case.store.write
    with caplog.at_level(logging.INFO):
        monkeypatch.setattr(BlockStore, "write", lambda *args: (logging.info("wrote"), real(*args[1:])))
        case.run()
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith("case: 70 pairs in 12 block(s), about 0 s at ")
    assert "pairs/s; 0.0 GiB of memory for vectors and one block, 0.00 GiB of disk in " in said[0]
    assert said[1] == "wrote"
    assert said[-1].startswith("case: 70 pairs in 0 s, ")


def test_few_pairs_are_not_measured_first(tmp_path, caplog):
    case = Case(tmp_path)
    with caplog.at_level(logging.INFO):
        case.run()
    assert len(case.scored) == 12
    assert "about" not in caplog.messages[0]


def test_too_little_disk_is_said_before_anything_is_scored(tmp_path, monkeypatch):
    case = Case(tmp_path / "not" / "yet")
    monkeypatch.setattr(estimate.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 100})())
    with pytest.raises(InputError, match=r"need 0\.00 GiB of disk, 0\.00 GiB are free"):
        case.run()
    assert case.scored == []


@pytest.mark.parametrize(("per_item", "per_pair"), [(1e-3, 1e-4), (0.0, 1e-3), (1e-2, 1e-6)])
def test_what_items_cost_is_told_from_what_pairs_cost(monkeypatch, per_item, per_pair):
    now = [0.0]
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: now[0])

    def score(images, texts):
        now[0] += per_item * (len(images) + len(texts)) + per_pair * len(images) * len(texts)
        return torch.zeros(len(images), len(texts))

    maps = torch.zeros(600, 1, 1)
    found = measured_cost(score, maps, maps[:300])
    items, pairs = 10_000, 25_000_000
    assert found[0] * items + found[1] * pairs == pytest.approx(per_item * items + per_pair * pairs, rel=0.15)


def test_a_log_file_hears_of_progress_every_minute(monkeypatch, caplog):
    now = [0.0]
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: now[0])
    with caplog.at_level(logging.INFO), estimate.Progress("case", 1000) as progress:
        progress.bar.disable = True
        for _ in range(10):
            now[0] += 25.0
            progress.update(100)
    assert caplog.messages == [
        "case: 30% of 1,000 pairs, 4 pairs/s, 3 min left",
        "case: 60% of 1,000 pairs, 4 pairs/s, 100 s left",
        "case: 90% of 1,000 pairs, 4 pairs/s, 25 s left",
        "case: 1,000 pairs in 4 min, 4 pairs/s",
    ]


LARGE = """
import json, resource, sys
from pathlib import Path
import numpy as np, pandas as pd, torch
from lile.evaluation.blocks import BlockStore
from lile.evaluation.grid import Grid
from lile.evaluation.metrics import fold_metrics
from lile.evaluation.stream import Source, score_blocks

N, U = 3000, 24000
ids, words = [f"i{n}" for n in range(N)], [f"t{n}" for n in range(U)]
images = pd.DataFrame({"image_id": ids, "group": [f"g{n // 3}" for n in range(N)]})
owners = [ids[n % N] for n in range(U)]
descriptions = pd.DataFrame({"description_id": words, "image_id": owners, "text_id": words})
maps = torch.randn(U, 1, 8, generator=torch.manual_seed(0))
score = lambda images, texts: torch.einsum("imd,tmd->it", images, texts)
store = BlockStore(Path(sys.argv[1]), Grid(N, U))
warm = BlockStore(Path(sys.argv[1] + "-warm"), Grid(2, 2))
before = 0
for rows, columns, kept in ((2, 2, warm), (N, U, store)):
    sources = [Source(names[:count], lambda run: maps[run]) for names, count in ((ids, rows), (words, columns))]
    score_blocks(score, *sources, kept)
    chosen = descriptions[:columns]
    metrics, _ = fold_metrics(kept, ids[:rows], words[:columns], images[:rows], chosen)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown, before = after - before, after
print(json.dumps({"grown_kib": grown, "Rsum": metrics["protocols"]["own"]["Rsum"]}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts otherwise elsewhere")
def test_memory_does_not_grow_with_the_number_of_pairs(tmp_path):
    """72 million pairs are 275 MiB of scores; 16 such blocks would already pass the limit."""
    done = subprocess.run([sys.executable, "-c", LARGE, str(tmp_path / "work")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["grown_kib"] < 100 << 10
    assert 0 < found["Rsum"] < 50
