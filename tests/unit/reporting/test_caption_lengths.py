"""Lengths of texts against counting by hand, and the picture of them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lile.reporting.caption_lengths import lengths_of, plot_lengths, said_of

CAPTIONS = ["Spindle  cells.", "Gland", "Spindle  cells."]
DESCRIPTIONS = ["one two three\nfour", "Gland"]


@pytest.fixture
def encoder(project_root) -> dict:
    config = project_root / "config" / "encoders" / "tiny_roberta"
    return {"modality": "text", "library": "transformers", "weights": "random", "config": str(config), "max_tokens": 8}


def test_words_are_parted_by_white_space_and_tokens_are_the_encoders_with_markers(encoder):
    from transformers import AutoTokenizer

    lengths = lengths_of(CAPTIONS, DESCRIPTIONS, encoder)
    assert {kind: values.tolist() for kind, values in lengths["words"].items()} == {
        "captions": [2, 1, 2],
        "descriptions": [4, 1],
    }
    tokenizer = AutoTokenizer.from_pretrained(encoder["config"])
    for kind, texts in (("captions", CAPTIONS), ("descriptions", DESCRIPTIONS)):
        bare = [len(tokenizer.tokenize(text)) for text in texts]
        assert lengths["tokens"][kind].tolist() == [number + 2 for number in bare]


def test_no_text_is_cut(encoder):
    long = " ".join(["necrosis"] * 300)
    assert lengths_of([long], [long], encoder)["tokens"]["captions"][0] > 300


def test_a_tokenizer_of_open_clip_is_not_asked(encoder):
    assert list(lengths_of(CAPTIONS, DESCRIPTIONS, {**encoder, "library": "open_clip"})) == ["words"]


def test_what_the_legend_says():
    assert said_of("captions", np.array([2, 4, 9])) == "3 captions: mean 5.0, 2 to 9"


def test_the_picture_has_a_panel_for_each_unit_and_is_the_same_again(tmp_path):
    rng = np.random.default_rng(0)
    some = {"captions": rng.integers(1, 400, 50), "descriptions": rng.integers(1, 60, 200)}
    for name in ("one", "two"):
        plot_lengths("mine", "pairs", {"words": some, "tokens": some}, 128, tmp_path / f"{name}.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    plot_lengths("mine", "pairs", {"words": some}, 128, tmp_path / "words.png")
    with Image.open(tmp_path / "one.png") as both, Image.open(tmp_path / "words.png") as words:
        assert both.width == 2 * words.width
        halves = np.array_split(np.asarray(both.convert("RGB")).astype(int), 2, axis=1)
    for half in halves:
        assert (np.abs(half - (86, 180, 233)).max(axis=2) < 3).sum() > 1000  # the bars
        assert (np.abs(half - (213, 94, 0)).max(axis=2) < 3).sum() > 100  # the line


def test_one_length_alone_can_be_drawn(tmp_path):
    one = {"captions": np.array([3]), "descriptions": np.array([3])}
    plot_lengths("mine", "synthetic", {"words": one}, 8, tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 1000
