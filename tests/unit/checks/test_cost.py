"""The estimate before anything starts: right sizes from shapes alone, and never a rate that nobody measured."""

from __future__ import annotations

import base64
import json
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from lile.checks.cost import check_cost, frozen_numbers, trained_numbers
from lile.checks.run import check_dataset
from lile.checks.shapes import Shape, stored_shape
from lile.checks.sizes import counts_of, in_words, store_bytes, tokens_per_text
from lile.checks.survey import TEXTS, Spread, Survey
from lile.checks.times import token_rate
from lile.config import load
from lile.features.image_encoder import load_image_encoder
from lile.features.libraries import TSV_COLUMNS
from lile.features.parts import PassThrough
from lile.features.shard_writer import write_store
from lile.features.transformers_model import load_tokenizer
from lile.models.config import ModelConfig
from lile.models.model import RetrievalModel, SideParts

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def shipped(project_root, monkeypatch):
    """The shipped config, on a machine without weights."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return load([project_root / "config" / "config.yaml"])


def said(config, dataset: str, root: Path) -> dict[str, str]:
    return {check.name: check.found for check in check_cost(config, dataset, None, root)}


@pytest.mark.parametrize(
    ("block", "tokens", "width"),
    [
        ({"weights": "timm/deit_base_patch16_224.fb_in1k"}, 197, 768),
        ({"weights": "timm/vit_giant_patch14_reg4_dinov2.lvd142m"}, 261, 1536),
        ({"weights": "timm/vit_small_patch14_dinov2.lvd142m", "image_size_px": 448}, 1025, 384),
        ({"weights": "timm/resnet50.a1_in1k", "trainable_blocks": 0}, 49, 2048),
        ({"weights": "timm/swin_tiny_patch4_window7_224.ms_in1k", "trainable_blocks": 0}, 49, 768),
        ({"weights": "resources/encoders/none", "convert_from": "a.npz", "trainable_blocks": 0}, 49, 768),
        ({"weights": "MahmoodLab/UNI2-h"}, 265, 1536),
        ({"weights": "MahmoodLab/CONCH", "image_size_px": 448}, 785, 768),
        ({"weights": "owkin/phikon-v2", "library": "transformers"}, 197, 1024),
        ({"weights": "openai/clip-vit-large-patch14-336", "library": "dual_encoder", "trainable_blocks": 0}, 1, 768),
    ],
)
def test_shapes_are_known_without_weights(tmp_path, block, tokens, width):
    assert stored_shape({"modality": "image", **block}, None, tmp_path) == Shape(tokens=tokens, width=width)


def test_shapes_of_regions_and_of_what_nobody_knows(tmp_path):
    detector = {"modality": "image", "library": "faster_rcnn", "regions": 20}
    assert stored_shape(detector, None, tmp_path) == Shape(tokens=20, width=1024, boxes=True)
    published = {"modality": "image", "library": "bottom_up", "files": ["a.tsv"], "columns": TSV_COLUMNS}
    assert stored_shape(published, None, tmp_path) == Shape(tokens=36, width=2048, boxes=True), "no file yet"
    cells = [base64.b64encode(np.ones((2, count), "<f4").tobytes()).decode() for count in (4, 300)]
    (tmp_path / "a.tsv").write_text("\t".join(["42", "640", "480", "2", *cells]) + "\n")
    assert stored_shape(published, None, tmp_path) == Shape(tokens=36, width=300, boxes=True)
    survey = Survey(rows=1, captions=5, images=1, groups=1, regions=(36, 2048))
    assert stored_shape({"modality": "image", "library": "npy"}, survey, tmp_path) == Shape(tokens=36, width=2048)
    assert stored_shape({"modality": "image", "library": "npy"}, None, tmp_path) is None
    assert stored_shape({"modality": "image", "weights": "me/nobody_knows"}, None, tmp_path) is None


def test_the_shape_of_a_folder_is_that_of_what_it_loads(project_root):
    block = {"modality": "image", "weights": "random", "config": str(project_root / "config/encoders/tiny_vit")}
    block |= {"image_size_px": 64, "trainable_blocks": 1}
    encoder = load_image_encoder(block, seed=0)
    tokens = encoder.stem(torch.zeros(1, 3, 64, 64)).shape[1]
    assert stored_shape(block, None, Path()) == Shape(tokens=tokens, width=encoder.width)


@pytest.mark.parametrize("boxes", [False, True])
def test_a_store_is_as_large_as_estimated(tmp_path, boxes):
    count, tokens, width = 20_000, 7, 256
    noise = np.random.default_rng(0).normal(size=(tokens, width)).astype(np.float16)
    item = (noise, np.tile(np.float32([0, 0, 1, 1]), (tokens, 1))) if boxes else (noise,)
    items = ((f"coco:{number:06d}", *item) for number in range(count))
    write_store(tmp_path / "store.h5", items, {"library": "x"}, code="c", width=width)
    estimate = store_bytes(count, tokens, Shape(tokens=tokens, width=width, boxes=boxes))
    assert estimate == pytest.approx((tmp_path / "store.h5").stat().st_size, rel=0.03)


def test_coco_before_its_download(shipped, tmp_path):
    found = said(shipped, "coco", tmp_path)
    assert found["store coco_regions"] == "123,287 images x 36 tokens of 1024 with boxes: 9.2 GB"
    assert found["store roberta_base"].startswith(
        "616,435 texts x about 14.4 tokens of 768: 13.7 GB (texts as Flickr8k"
    )
    assert "coco_vit" not in " ".join(found), "a region ViT stores nothing"
    assert "archives 20.4 GB" in found["disk needed in resources/"]
    assert "500.0 MB for all scores of 5,000 test images" in found["memory"]
    assert "no measured rate on this machine yet for coco_regions" in found["time"]
    assert not any(name.startswith("time ") for name in found), "a rate that nobody measured"


def test_the_page_on_coco_has_the_sizes_that_the_code_computes(shipped, project_root):
    counts = counts_of(shipped["datasets"]["coco"], None)
    text = tokens_per_text(counts.texts, shipped["encoders"]["roberta_base"], project_root)
    rows = [
        ("36 regions of torchvision's Faster R-CNN, with boxes", counts.images, 36, 1024, True),
        ("36 regions of bottom-up attention (TSV), with boxes", counts.images, 36, 2048, True),
        ("the same as SCAN's or IMRAM's `.npy`, without boxes", counts.images, 36, 2048, False),
        ("patches and class token of a ViT-base/16 at 224 px", counts.images, 197, 768, False),
        ("a DINOv2 giant or H-optimus at 224 px", counts.images, 261, 1536, False),
        ("one vector of CLIP ViT-L/14", counts.images, 1, 768, False),
        ("words after layer 6 of `roberta-base`", counts.descriptions, text, 768, False),
        ("one vector of CLIP's text side", counts.descriptions, 1, 768, False),
    ]
    expected = [
        f"| {name} | {items:,} | {tokens:.4g} | {width:,} | "
        f"{in_words(store_bytes(items, tokens, Shape(tokens=0, width=width, boxes=boxes)))} |"
        for name, items, tokens, width, boxes in rows
    ]
    page = (project_root / "docs" / "coco.md").read_text(encoding="utf-8")
    section = page.partition("## Before you start: disk, time, memory")[2].partition("\n## ")[0]
    found = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| store")]
    assert found == expected, "\n".join(expected)
    assert f"{in_words(counts.score_bytes)}" in section


def test_a_limit_is_per_split(shipped, tmp_path):
    shipped["datasets"]["coco"]["limit"] = 1000
    assert said(shipped, "coco", tmp_path)["store coco_regions"].startswith("3,000 images")


def test_too_little_disk_is_said_before_it_is_full(shipped, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, int(50e9)))
    rooms = [check for check in check_cost(shipped, "coco", None, tmp_path) if check.name.startswith("disk")]
    # 28 GB of results and 41 GB of pictures fit alone, but not together on one disk.
    assert [check.status for check in rooms] == ["WARN", "WARN"]
    assert "with the other folders on this disk it is 6" in rooms[0].found
    assert "on a larger disk" in rooms[0].fix
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, int(500e9)))
    assert {check.status for check in check_cost(shipped, "coco", None, tmp_path)} == {"PASS"}


def test_the_download_is_counted_until_it_is_unpacked_whatever_else_lies_in_its_folder(shipped, tmp_path):
    (tmp_path / "resources/coco/bottom_up").mkdir(parents=True)
    assert said(shipped, "coco", tmp_path)["disk needed in resources/"].startswith("40.9 GB more")
    (tmp_path / "resources/coco/train2014").mkdir()
    assert said(shipped, "coco", tmp_path)["disk needed in resources/"].startswith("13.9 GB more")
    shipped["datasets"]["coco"]["download"] = False
    assert "disk needed in resources/" not in said(shipped, "coco", tmp_path)


def test_what_is_there_is_not_needed_again(shipped, tmp_path):
    before = said(shipped, "coco", tmp_path)["disk needed in results/"]
    for shard in range(16):
        path = tmp_path / f"results/coco/features/coco_regions/shard-{shard}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as handle:
            handle.truncate(500_000_000)  # a hole: takes no room
    after = said(shipped, "coco", tmp_path)["disk needed in results/"]
    assert float(before.split()[0]) - float(after.split()[0]) == pytest.approx(8.0, abs=0.11)


def test_times_are_those_of_this_folders_records(shipped, tmp_path):
    folder = tmp_path / "results"
    (folder / "trial/features/coco_regions").mkdir(parents=True)
    items = ((str(number), np.ones((1, 4), np.float16)) for number in range(100))
    write_store(folder / "trial/features/coco_regions/shard-0.h5", items, {"library": "x"}, code="c", width=4)
    (folder / "benchmarks/region_tokens").mkdir(parents=True)
    (folder / "benchmarks/region_tokens/trial.coco_regions.0.tsv").write_text("s\th:m:s\n50.0\t0:00:50\n")
    (folder / "benchmarks/region_tokens/trial.coco_regions.1.tsv").write_text("s\th:m:s\n50.0\t0:00:50\n")  # no shard
    (folder / "coco/lile_paper/fold-0").mkdir(parents=True)
    history = "".join(json.dumps({"epoch": epoch, "seconds": 600.0}) + "\n" for epoch in range(2))
    (folder / "coco/lile_paper/fold-0/history.jsonl").write_text(history)
    found = said(shipped, "coco", tmp_path)
    assert found["time store coco_regions"] == "about 17.1 h: 123,287 items at 2.0 a second, as measured"
    assert found["time lile_paper"] == "at most 5.0 h: 30 epochs of 600 s, as measured"
    assert "coco_regions" not in found["time"]


def test_the_numbers_a_row_trains_are_about_those_of_its_model(shipped):
    with torch.device("meta"):
        head = RetrievalModel(ModelConfig.from_dict({}), SideParts(PassThrough(), 768), SideParts(PassThrough(), 768))
        layer = torch.nn.TransformerEncoderLayer(768, 12, 3072)
    real = sum(p.numel() for p in head.parameters()) + 4 * sum(p.numel() for p in layer.parameters())
    assert trained_numbers(shipped, "arch", "lile_paper") == pytest.approx(real, rel=0.01)
    assert trained_numbers(shipped, "arch", "clip_zero_shot") == 0
    assert frozen_numbers(shipped, "arch", "lile_paper") == 0


def test_a_region_vit_is_counted_whole(shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layer = sum(p.numel() for p in torch.nn.TransformerEncoderLayer(768, 12, 3072, device="meta").parameters())
    assert frozen_numbers(shipped, "coco", "lile_paper") == pytest.approx(6 * layer, rel=0.01)
    without = trained_numbers(shipped, "coco", "vsepp_coco"), frozen_numbers(shipped, "coco", "vsepp_coco")
    assert without[1] == 0
    shipped["encoders"]["coco_vit"]["weights"] = "timm/vit_large_patch16_224.augreg_in21k_ft_in1k"
    large = sum(p.numel() for p in torch.nn.TransformerEncoderLayer(1024, 16, 4096, device="meta").parameters())
    assert frozen_numbers(shipped, "coco", "lile_paper") == pytest.approx(18 * large, rel=0.01)


def test_a_shard_that_was_resumed_counts_what_its_last_job_made(tmp_path):
    write_store(tmp_path / "results/d/features/e/shard-0.h5", [(str(k), np.ones((1, 2))) for k in range(100)], {})
    record = tmp_path / "results/benchmarks/image_tokens/d.e.0.tsv"
    record.parent.mkdir(parents=True)
    record.write_text("s\th:m:s\n50.0\t0:00:50\n")
    assert token_rate("e", tmp_path) == 2.0
    log = tmp_path / "results/logs/image_tokens/d.e.0.log"
    log.parent.mkdir(parents=True)
    log.write_text("INFO: shard-0.h5: 100 images, 25 of them now in 49.0 s, 0.51 per second\n")
    assert token_rate("e", tmp_path) == 0.5


def test_captions_are_counted_as_the_data_have_them(shipped, project_root, tmp_path):
    texts = ["One gland is seen. It is large. It has dense nuclei."] * 40 + ["A short one."] * 60
    survey = Survey(rows=100, captions=1000, images=1000, groups=1000, texts=texts)
    counts = counts_of(shipped["datasets"]["arch"], survey)
    assert counts.descriptions == 1400  # three sentences make two descriptions
    assert counts.texts.words == pytest.approx((40 * (7 + 8) + 60 * 3) / 140)
    unknown = {"modality": "text", "weights": "me/nobody_has"}
    assert tokens_per_text(counts.texts, unknown | {"max_tokens": 5}, tmp_path) == 5, "longer texts are cut"
    # With a tokenizer here, its own count: that of the demo makes more of these words than the usual.
    tiny = shipped["encoders"]["tiny_roberta"]
    found = tokens_per_text(counts.texts, tiny, project_root)
    tokenizer = load_tokenizer(project_root / tiny["config"])
    assert found == pytest.approx(sum(len(tokenizer(text)["input_ids"]) for text in counts.texts.sample) / 140)


def test_a_sample_is_spread_over_a_stream_of_any_length():
    spread = Spread()
    for number in range(100_000):
        spread.add(str(number))
    assert TEXTS / 2 <= len(spread.texts) <= TEXTS
    steps = np.diff([int(text) for text in spread.texts])
    assert len(set(steps)) == 1
    assert int(spread.texts[-1]) > 99_000


def test_lile_check_has_the_estimate_even_where_weights_are_missing(shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {check.name: check.status for check in check_dataset(shipped, "arch", tmp_path)}
    assert names["image encoder deit_base"] == "FAIL"
    assert names["store deit_base"] == names["memory"] == names["time"] == "PASS"


@pytest.mark.parametrize(("size", "words"), [(999, "1 kB"), (2.3e6, "2.3 MB"), (37.4e9, "37.4 GB"), (2e12, "2.0 TB")])
def test_sizes_as_a_person_says_them(size, words):
    assert in_words(size) == words
