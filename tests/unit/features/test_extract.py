"""Extraction: what is stored is the stem's output, whatever the batches, threads and shards."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lile.data.images import load_image
from lile.errors import InputError
from lile.features import extract
from lile.features.extract import extract_image_tokens, extract_text_tokens
from lile.features.image_encoder import load_image_encoder
from lile.features.pipeline import ahead_of, one_behind
from lile.features.store import TokenStore
from lile.features.text_encoder import load_text_encoder


@pytest.fixture(scope="module")
def image_encoder(tiny_deit):
    return load_image_encoder({"weights": str(tiny_deit), "image_size_px": 32, "trainable_blocks": 2}, seed=0)


@pytest.fixture(scope="module")
def text_encoder(tiny_roberta):
    return load_text_encoder({"weights": str(tiny_roberta), "max_tokens": 10, "trainable_blocks": 2}, seed=0)


@pytest.fixture
def images(tmp_path) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    folder = tmp_path / "images"
    folder.mkdir()
    paths = [folder / f"{k}.png" for k in range(11)]
    for path in paths:
        size = (*rng.integers(10, 60, 2), 3)
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(path)
    ids = [f"image {k}" for k in range(11)]
    return pd.DataFrame({"image_id": ids, "path": list(map(str, paths)), "group": ids, "split": ""})


def text_id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.fixture
def descriptions(words) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(words, size=length)) for length in (3, 1, 7, 12, 3, 5, 9, 2)]
    texts += texts[:3]
    frame = pd.DataFrame({"text": texts, "text_id": list(map(text_id, texts))})
    return frame.assign(description_id=[str(k) for k in range(len(texts))])


@pytest.mark.parametrize(("batch_size", "threads", "shards"), [(1, 1, 1), (4, 3, 1), (100, 2, 3), (2, 2, 12)])
def test_image_tokens_are_the_stems_output(tmp_path, images, image_encoder, batch_size, threads, shards):
    paths = [tmp_path / "out" / f"shard-{k}.h5" for k in range(shards)]
    counts = [
        extract_image_tokens(
            images, image_encoder, path, name="deit", shard=k, shards=shards, batch_size=batch_size, threads=threads
        )
        for k, path in enumerate(paths)
    ]
    assert sum(counts) == 11
    assert max(counts) - min(counts) <= 1
    store = TokenStore(paths, expect=image_encoder.about())
    assert sorted(store.ids) == sorted(images["image_id"])
    tokens, keep = store.read(store.rows_of(images["image_id"].tolist()))
    assert keep.all()
    for place, path in enumerate(images["path"]):
        expected = image_encoder.stem(image_encoder.pixels(load_image(Path(path)))[None])[0]
        np.testing.assert_allclose(tokens[place], expected.numpy(), rtol=2e-3, atol=2e-3)
    assert store.about["encoder"] == "deit"


@pytest.mark.parametrize(("batch_size", "shards"), [(1, 1), (3, 1), (100, 2)])
def test_text_tokens_are_the_stems_output_of_each_distinct_text(
    tmp_path, descriptions, text_encoder, batch_size, shards, caplog
):
    paths = [tmp_path / f"shard-{k}.h5" for k in range(shards)]
    with caplog.at_level(logging.WARNING):
        counts = [
            extract_text_tokens(
                descriptions, text_encoder, path, name="roberta", shard=k, shards=shards, batch_size=batch_size
            )
            for k, path in enumerate(paths)
        ]
    assert sum(counts) == 8  # of 11 descriptions, three say what others say
    store = TokenStore(paths, expect=text_encoder.about())
    tokens, keep = store.read(store.rows_of(descriptions["text_id"].tolist()))
    for place, text in enumerate(descriptions["text"]):
        ids, mask, _ = text_encoder.tokenize([text])
        assert keep[place].sum() == mask.sum() == min(10, len(text.split()) + 2)
        expected = text_encoder.stem(ids, mask)[0].numpy()
        np.testing.assert_allclose(tokens[place][keep[place]], expected, rtol=2e-3, atol=2e-3)
    assert sum(record.getMessage().startswith("2 of") for record in caplog.records) == (1 if shards == 1 else 0)
    with h5py.File(paths[0]) as file:
        lengths = np.diff(file["offsets"][...])
        assert file["tokens"].shape[0] == lengths.sum()
        assert (np.diff(lengths) >= 0).all()


def test_truncated_texts_are_counted(tmp_path, descriptions, text_encoder):
    extract_text_tokens(descriptions, text_encoder, tmp_path / "s.h5", name="roberta")
    assert TokenStore([tmp_path / "s.h5"]).about["truncated"] == 2  # the texts of 12 and 9 words, of 8 at most


def test_the_same_run_gives_the_same_file(tmp_path, images, image_encoder):
    for name in ("a.h5", "b.h5"):
        extract_image_tokens(images, image_encoder, tmp_path / name, name="deit", batch_size=4, threads=4, code="c0de")
    first, second = (TokenStore([tmp_path / name]) for name in ("a.h5", "b.h5"))
    assert first.ids == second.ids == images["image_id"].tolist()
    np.testing.assert_array_equal(first.read(np.arange(11))[0], second.read(np.arange(11))[0])
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["code"] == "c0de"


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_a_killed_job_goes_on_after_its_last_segment(
    tmp_path, monkeypatch, images, descriptions, image_encoder, text_encoder, kind
):
    """Segments of four items in batches of two; killed in the third segment, at its second batch."""
    monkeypatch.setattr(extract, "_SEGMENT_IMAGES", 5)
    monkeypatch.setattr(extract, "_SEGMENT_TEXTS", 2)
    encoder = image_encoder if kind == "images" else text_encoder
    batches: list[int] = []

    def run(out: str, die_after: int | None = None) -> bytes:
        def counted(module: torch.nn.Module, given: tuple) -> None:
            batches.append(len(given[0]))
            if len(batches) == die_after:
                raise KeyboardInterrupt

        batches.clear()
        facts = {"name": "tiny", "batch_size": 2, "work": tmp_path / "work" / "shard-0", "code": "c0de"}
        handle = encoder.stem.register_forward_pre_hook(counted)
        try:
            if kind == "images":
                extract_image_tokens(images, encoder, tmp_path / out, **facts)
            else:
                extract_text_tokens(descriptions, encoder, tmp_path / out, **facts)
        finally:
            handle.remove()
        return (tmp_path / out).read_bytes()

    whole = run("whole.h5")
    assert not (tmp_path / "work" / "shard-0").exists()
    number = len(batches)
    with pytest.raises(KeyboardInterrupt):
        run("s.h5", die_after=4)
    assert not (tmp_path / "s.h5").exists()
    assert run("s.h5") == whole
    per_segment = 2 if kind == "images" else 1
    assert len(batches) == number - 3 // per_segment * per_segment


def test_a_broken_image_is_named_and_nothing_is_left(tmp_path, images, image_encoder):
    broken = Path(images["path"][5])
    broken.write_bytes(broken.read_bytes()[:60])
    out = tmp_path / "out"
    with pytest.raises(InputError, match="cannot be decoded") as caught:
        extract_image_tokens(images, image_encoder, out / "s.h5", name="deit", batch_size=2, threads=2)
    assert str(broken) in str(caught.value)
    assert "verify: decode" in str(caught.value)
    assert list(out.iterdir()) == []


def test_weights_that_overflow_are_reported_with_the_item(tmp_path, images, tiny_deit):
    encoder = load_image_encoder({"weights": str(tiny_deit), "image_size_px": 32, "trainable_blocks": 2}, seed=0)
    with torch.no_grad():
        encoder.stem.inner.model.pos_embed.add_(1e6)
    with pytest.raises(InputError, match=r"'image 0'.*float16"):
        extract_image_tokens(images, encoder, tmp_path / "s.h5", name="deit")
    assert not (tmp_path / "s.h5").exists()


@pytest.mark.parametrize(("shard", "shards"), [(1, 1), (-1, 2), (0, 0)])
def test_a_shard_that_does_not_exist(tmp_path, images, image_encoder, shard, shards):
    with pytest.raises(InputError, match="does not exist"):
        extract_image_tokens(images, image_encoder, tmp_path / "s.h5", name="deit", shard=shard, shards=shards)


def test_work_runs_ahead_within_its_bound_and_in_order():
    running, most = set(), 0
    lock = threading.Lock()

    def work(item: int) -> int:
        nonlocal most
        with lock:
            running.add(item)
        time.sleep(0.001 * (item % 3))
        return -item

    for item, result in enumerate(ahead_of(work, range(60), threads=4, ahead=7)):
        assert result == -item
        most = max(most, len(running) - item)
    assert 1 < most <= 7


def test_one_behind_starts_the_next_before_it_gives_this_one():
    events: list[str] = []

    def source():
        for k in range(3):
            events.append(f"start {k}")
            yield k

    for k in one_behind(source()):
        events.append(f"use {k}")
    assert events == ["start 0", "start 1", "use 0", "start 2", "use 1", "use 2"]
    assert list(one_behind([])) == []


def test_the_scripts(tmp_path, run_script, images, descriptions, tiny_deit, tiny_roberta):
    images.to_csv(tmp_path / "images.csv", index=False)
    columns = ["description_id", "caption_id", "image_id", "group", "text", "text_id"]
    whole = descriptions.assign(caption_id="c", image_id="i", group="g")[columns]
    whole.to_csv(tmp_path / "descriptions.csv", index=False)
    image = {"encoder_name": "deit", "seed": 0, "encoder": {"weights": str(tiny_deit), "image_size_px": 32}}
    text = {"encoder_name": "roberta", "seed": 0, "encoder": {"weights": str(tiny_roberta), "max_tokens": 10}}
    for kind, config, table, count in (("image", image, "images", 5), ("text", text, "descriptions", 4)):
        out, log = tmp_path / f"{kind}.h5", tmp_path / f"{kind}.log"
        words = ["--config-json", json.dumps(config), f"--{table}", tmp_path / f"{table}.csv", "--out", out]
        run_script(f"{kind}_tokens", *words, "--shard", 1, "--shards", 2, "--threads", 1, "--log", log, "--code", "c0")
        store = TokenStore([out])
        assert len(store) == count
        assert store.about["encoder"] == config["encoder_name"]
        assert "per second" in log.read_text()


def test_missing_weights_end_a_script_with_one_line(tmp_path, project_root, descriptions):
    config = {"encoder_name": "roberta", "seed": 0, "encoder": {"weights": "me/roberta"}}
    columns = ["description_id", "caption_id", "image_id", "group", "text", "text_id"]
    whole = descriptions.assign(caption_id="c", image_id="i", group="g")[columns]
    whole.to_csv(tmp_path / "descriptions.csv", index=False)
    command = [sys.executable, project_root / "workflow" / "scripts" / "text_tokens.py", "--config-json"]
    command += [json.dumps(config), "--descriptions", tmp_path / "descriptions.csv", "--out", tmp_path / "none.h5"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert "into resources/encoders/me--roberta/" in done.stderr
    assert not (tmp_path / "none.h5").exists()
