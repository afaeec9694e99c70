"""The parts of a pretraining, each against a value or a slow twin: figures, augmentation, order, rate, config."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lile.config import load
from lile.errors import InputError
from lile.features.pixels import PixelTransform
from lile.pretraining.config import AugmentationConfig, FitConfig, PretrainConfig
from lile.pretraining.loop import class_weights, rate_at
from lile.pretraining.pictures import Pictures, training_batches
from lile.pretraining.scores import (
    balanced_accuracy,
    balanced_likelihood,
    bootstrap,
    confusion_of,
    wilson,
)

TRANSFORM = PixelTransform(size_px=16, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3)


def test_wilson_as_printed():
    # Newcombe (1998), table I: 81 of 263 is 0.2553 to 0.3662, and 0 of 20 is 0 to 0.1611.
    found = wilson(81, 263)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    assert (wilson(0, 20).low, round(wilson(0, 20).high, 4)) == (0.0, 0.1611)
    assert wilson(20, 20).high == 1.0


def test_accuracy_of_classes_of_different_size():
    matrix = confusion_of([0] * 8 + [1] * 2, [0] * 8 + [0, 1], 2)
    assert matrix.tolist() == [[8, 0], [1, 1]]
    assert balanced_accuracy(matrix) == 0.75
    assert balanced_accuracy(np.array([[3, 1], [0, 0]])) == 0.75, "a class without pictures does not count"


def test_the_likelihood_counts_each_class_the_same():
    probabilities = np.array([[0.5, 0.5], [0.5, 0.5], [0.875, 0.125]])
    assert balanced_likelihood(probabilities, [0, 0, 1]) == pytest.approx(np.sqrt(0.5 * 0.125))


def test_the_bootstrap_draws_groups_and_not_pictures():
    labels, predicted = [0, 1] * 100, [0, 1] * 50 + [1, 0] * 50
    few = bootstrap(labels, predicted, [f"g{n // 50}" for n in range(200)], 2, seed=0)
    many = bootstrap(labels, predicted, [f"g{n}" for n in range(200)], 2, seed=0)
    assert few is not None
    assert many is not None
    assert few[0].high - few[0].low > 3 * (many[0].high - many[0].low)
    assert many[0].low == pytest.approx(wilson(100, 200).low, abs=0.02)
    assert bootstrap(labels, predicted, ["one"] * 200, 2, seed=0) is None
    assert bootstrap(labels, labels, [f"g{n // 50}" for n in range(200)], 2, seed=0)[0] == wilson(4, 4, "groups")


def test_the_bootstrap_against_a_slow_twin():
    rng = np.random.default_rng(5)
    labels, predicted = rng.integers(3, size=90), rng.integers(3, size=90)
    groups = [f"g{n % 9}" for n in range(90)]
    fast = bootstrap(labels.tolist(), predicted.tolist(), groups, 3, seed=1)
    values = []
    for _ in range(2000):
        drawn = rng.integers(9, size=9)
        places = np.concatenate([np.flatnonzero(np.arange(90) % 9 == group) for group in drawn])
        values.append(balanced_accuracy(confusion_of(labels[places], predicted[places], 3)))
    low, high = np.quantile(values, (0.025, 0.975))
    assert fast is not None
    assert fast[1].low == pytest.approx(low, abs=0.02)
    assert fast[1].high == pytest.approx(high, abs=0.02)


def test_weights_of_classes():
    weights = class_weights([0] * 6 + [1] * 2, 2)
    assert weights.tolist() == pytest.approx([8 / 12, 8 / 4])
    assert (weights[0] * 6 + weights[1] * 2) / 8 == pytest.approx(1.0)


def test_the_rate_rises_and_falls():
    config = FitConfig(learning_rate=1.0, warmup=0.1)
    rates = [rate_at(step, 100, config) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert all(after < before for before, after in itertools.pairwise(rates[10:]))
    assert 0 < rates[-1] < 0.01
    assert rate_at(0, 10, FitConfig(learning_rate=1.0, warmup=0.0)) == 1.0


def test_each_picture_comes_once_an_epoch():
    batches = training_batches([0] * 65, 32, "none", seed=1)
    assert sorted(len(batch) for batch in batches) == [21, 22, 22], "no last batch of one"
    assert sorted(np.concatenate(batches).tolist()) == list(range(65))
    assert np.concatenate(training_batches([0] * 65, 32, "none", seed=2)).tolist() != np.concatenate(batches).tolist()


def test_balanced_sampling_draws_classes_evenly():
    labels = [0] * 900 + [1] * 100
    drawn = np.concatenate(training_batches(labels, 64, "balanced_sampling", seed=1))
    assert len(drawn) == 1000
    assert 440 < sum(place >= 900 for place in drawn) < 560


def corner(path: Path) -> Path:
    """A picture whose four quarters and corner differ, so that each turn and mirror shows."""
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8, :8], pixels[:8, 8:], pixels[8:, :8], pixels[8:, 8:] = 10, 80, 160, 240
    pixels[0, 1] = 255
    Image.fromarray(pixels).save(path)
    return path


def drawn(path: Path, config: AugmentationConfig, epochs: range, seed: int = 0) -> list[np.ndarray]:
    pictures = Pictures([str(path)], [0], TRANSFORM, config, seed)
    return [pictures[epoch, 0][0] for epoch in epochs]


def test_a_picture_depends_on_seed_epoch_and_place_alone(tmp_path):
    path = corner(tmp_path / "x.png")
    config = AugmentationConfig()
    first, again = drawn(path, config, range(1, 9)), drawn(path, config, range(1, 9))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert len({one.tobytes() for one in first}) == 8
    assert not np.array_equal(first[0], drawn(path, config, range(1, 2), seed=1)[0])


def test_the_eight_ways_to_lay_a_square_and_nothing_else(tmp_path):
    path = corner(tmp_path / "x.png")
    config = AugmentationConfig(min_area=1.0, brightness=0, contrast=0, saturation=0, hue=0)
    with Image.open(path) as picture:
        whole = np.array(picture)
    ways = {np.rot90(side, turn).tobytes() for side in (whole, whole[:, ::-1]) for turn in range(4)}
    assert {one.tobytes() for one in drawn(path, config, range(1, 120))} == ways
    plain = replace(config, flips=False, rotations=False)
    assert all(np.array_equal(one, whole) for one in drawn(path, plain, range(1, 4)))
    assert np.array_equal(drawn(path, config, range(1))[0], whole), "epoch 0 is the picture as it is"


def test_the_generator_of_the_program_is_left_alone(tmp_path):
    import torch

    path = corner(tmp_path / "x.png")
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    drawn(path, AugmentationConfig(), range(1, 5))
    assert torch.equal(torch.rand(3), expected)


OVERLAY = """
pretraining:
  one: {data: {kind: folder, root: some/folder}, start: timm/some_model}
  two: {data: {kind: csv, file: list.csv}, start: timm/some_model}
  three: {data: {kind: nct_crc}, start: results/pretrain/one}
"""


def test_schema_and_code_have_the_same_defaults(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(OVERLAY)
    blocks = load([path])["pretraining"]
    for block in blocks.values():
        full = PretrainConfig.from_dict(block).to_dict()
        named = {key: value for key, value in full["data"].items() if key in block["data"]}
        assert {**full, "data": named} == block
        bare = {
            "data": {key: block["data"][key] for key in ("kind", "root", "file", "download") if key in block["data"]}
        }
        assert PretrainConfig.from_dict({**bare, "start": block["start"]}).to_dict() == full


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("start: random", "pretraining.mine: start 'random' with config None"),
        ("start: some/model, config: folder", "start 'some/model' with config 'folder'"),
        ("start: results/pretrain/mien", "mien is not among pretraining; did you mean results/pretrain/mine"),
        ("start: results/pretrain/mine", "pretraining.mine.start: results/pretrain/mine stands on mine itself"),
        ("start: a/b, training: {epochs: 0}", "pretraining.mine.training.epochs: found 0"),
        ("start: a/b, training: {epoch: 3}", "epoch: unknown key; did you mean epochs"),
        ("start: random, config: folder, freeze_blocks: 2", "freeze_blocks=2 would keep random weights"),
    ],
)
def test_a_mistake_in_a_block_ends_before_any_job(tmp_path, block, words):
    path = tmp_path / "my.yaml"
    path.write_text(f"pretraining: {{mine: {{data: {{kind: folder, root: x}}, {block}}}}}\n")
    with pytest.raises(InputError) as raised:
        load([path])
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("{kind: folder}", "root is missing"),
        ("{kind: nct_crc, root: my/nct}", "but a download goes to resources/nct_crc. Leave root out, or set download"),
        ("{kind: csv, file: x.csv, group_pattern: a}", "group_pattern: unknown key"),
        ("{kind: folder, root: x, group_pattern: '(a)(b)'}", "has 2 groups; put one pair of round brackets"),
        ("{kind: folder, root: x, group_pattern: '(a'}", "is no regular expression"),
        ("{kind: folder, root: x, held_out: 1.0}", "pretraining.mine.data.held_out: found 1.0"),
    ],
)
def test_data_that_cannot_be(tmp_path, data, words):
    path = tmp_path / "my.yaml"
    path.write_text(f"pretraining: {{mine: {{data: {data}, start: a/b}}}}\n")
    with pytest.raises(InputError) as raised:
        load([path])
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        ("{modality: image, weights: results/pretrain/mien}", "did you mean results/pretrain/mine"),
        ("{modality: image, library: open_clip, weights: results/pretrain/mine, trainable_blocks: 0}",
         "open_clip, but results/pretrain/mine is a model of timm"),
        ("{modality: text, weights: results/pretrain/mine}", "but results/pretrain/mine is a model of timm"),
    ],
)  # fmt: skip
def test_an_encoder_that_names_no_such_pretraining(tmp_path, encoder, words):
    path = tmp_path / "my.yaml"
    block = "pretraining: {mine: {data: {kind: folder, root: x}, start: a/b}}"
    path.write_text(f"{block}\nencoders: {{e: {encoder}}}\n")
    with pytest.raises(InputError) as raised:
        load([path])
    assert words in str(raised.value)
