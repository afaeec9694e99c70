"""Dual encoders in a config: what would fail in a job, or give a table of noise, is refused before any job."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from lile.config import prepare
from lile.errors import InputError


@pytest.fixture
def config() -> dict[str, Any]:
    return yaml.safe_load(
        """
        datasets:
          own: {kind: pairs, file: own.csv, encoders: {image: vit, text: bert}}
        encoders:
          vit: {modality: image, weights: some/vit}
          bert: {modality: text, weights: some/bert}
          clip_image: {modality: image, library: dual_encoder, weights: some/clip, trainable_blocks: 0}
          clip_text: {modality: text, library: dual_encoder, weights: some/clip, trainable_blocks: 0}
          bio_text: {modality: text, library: open_clip, weights: some/biomed, trainable_blocks: 0}
        models:
          first: &given
            preset: baseline
            encoders: {image: clip_image, text: clip_text}
            image: {pooling: given}
            text: {pooling: given}
            matching: {kind: dot}
            training: {epochs: 0}
          second: {<<: *given, matching: {kind: max}}
          both: {kind: ensemble, members: [first, second]}
        tables: {shown: {dataset: own, models: [first, second, both]}}
        """
    )


def test_both_sides_of_one_dual_encoder_are_a_row(config):
    found = prepare(config)
    assert found["models"]["first"]["encoders"] == {"image": "clip_image", "text": "clip_text"}
    config["models"]["probe"] = {
        "preset": "baseline", "encoders": {"image": "clip_image", "text": "bio_text"},
        "image": {"pooling": "mean"}, "text": {"pooling": "mean"}, "matching": {"kind": "dot"},
    }  # fmt: skip
    config["tables"]["shown"]["models"].append("probe")
    prepare(config)  # a trained projection may join what was never joined


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (
            "encoders.clip_image.trainable_blocks",
            2,
            ["clip_image.trainable_blocks", "Write trainable_blocks: 0"],
        ),
        ("encoders.clip_text.weights", "random", ["encoders.clip_text.weights: random", "needs a folder or a hub id"]),
        (
            "encoders.clip_image.convert_from",
            "a.npz",
            ["clip_image.convert_from: not with library dual_encoder"],
        ),
        ("encoders.clip_image.library", "clip", ["needed is one of timm, transformers, dual_encoder, open_clip"]),
        ("models.first.encoders.text", "bio_text", ["models.first", "table shown", "some/clip and some/biomed"]),
        ("models.second.encoders.text", None, ["models.second", "text.pooling: given, but bert is an encoder of"]),
        ("models.first.encoders.image", None, ["models.first", "vit is an encoder of timm", "encoders.image"]),
        ("models.both.members", ["first", "both"], ["models.both.members", "both is of kind ensemble"]),
        ("models.first.encoders.image", "clip_imag", ["models.first.encoders.image", "did you mean clip_image?"]),
        ("tables.shown.dataset", "owm", ["did you mean own?"]),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(config, place, value, said):
    *above, last = place.split(".")
    block = config
    for key in above:
        block = block[key]
    block[last] = value
    with pytest.raises(InputError) as caught:
        prepare(config)
    assert all(part in str(caught.value) for part in said), str(caught.value)


def test_a_row_that_no_table_shows_may_wait_for_its_dataset(config):
    config["models"]["first"]["encoders"] = {"image": None, "text": None}
    config["tables"]["shown"]["models"] = ["second"]
    del config["models"]["both"]
    assert prepare(config)["models"]["first"]["image"]["pooling"] == "given", "no table says on which dataset"
