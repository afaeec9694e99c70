"""Captions, tags and regions as a BERT reads them."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_bert import write_bert_config

from lile.cross.inputs import PairReader, spread
from lile.cross.words import PairWords, read_tags
from lile.errors import InputError
from lile.features.shard_writer import write_store
from lile.features.store import TokenStore
from lile.features.transformers_model import load_tokenizer

TEXTS = {"t0": "dense gland", "t1": "stroma", "t2": "gland gland gland gland gland gland gland"}


@pytest.fixture
def words(tmp_path):
    tokenizer = load_tokenizer(write_bert_config(tmp_path / "bert"))
    return PairWords(tokenizer, TEXTS, {"i0": "nuclei stroma", "i9": ""}, max_words=6, max_tags=2)


def test_a_caption_and_its_images_tags_are_two_segments(words):
    ids, segments, keep = words.read(["t0", "t1", "t2"], ["i0", "i1", "i9"])
    assert ids.tolist() == [[2, 7, 6, 3, 8, 3], [2, 9, 3, 0, 0, 0], [2, 6, 6, 6, 6, 3]]
    assert segments.tolist() == [[0, 0, 0, 0, 1, 1], [0] * 6, [0] * 6]
    assert keep.sum(axis=1).tolist() == words.lengths(["t0", "t1", "t2"], ["i0", "i1", "i9"]).tolist() == [6, 3, 6]


def test_tags_are_read_and_refused_where_they_do_not_fit(tmp_path):
    path = tmp_path / "tags.csv"
    path.write_text('image_id,tags\ni0,"gland, NA"\ni1,NA\n')
    assert read_tags(path) == {"i0": "gland, NA", "i1": "NA"}
    path.write_text("image_id,tags\ni0,a\ni0,b\n")
    with pytest.raises(InputError, match="'i0' stands twice"):
        read_tags(path)
    path.write_text("image,tags\ni0,a\n")
    with pytest.raises(InputError, match="no column image_id"):
        read_tags(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_tags(tmp_path / "none.csv")


def test_too_many_regions_are_thinned_over_the_whole_image():
    assert spread(np.array([8, 3, 0, 4]), 4).tolist() == [[0, 2, 4, 6], [0, 1, 2, -1], [-1] * 4, [0, 1, 2, 3]]
    assert spread(np.array([50]), 49)[0, -1] == 48
    assert np.unique(spread(np.array([197]), 50)).size == 50


def test_a_batch_holds_each_pairs_own_regions(words, tmp_path):
    tokens = {"i0": np.arange(10).reshape(5, 2), "i1": np.full((1, 2), 7.0)}
    write_store(tmp_path / "s.h5", iter(tokens.items()), {"library": "test"})
    reader = PairReader(TokenStore([tmp_path / "s.h5"]), words, max_regions=2)
    _, _, _, regions, keep = reader.read(["i1", "i0", "i1"], ["t0", "t0", "t1"], "cpu")
    assert regions.tolist() == [[[7, 7], [0, 0]], [[0, 1], [4, 5]], [[7, 7], [0, 0]]]
    assert keep.tolist() == [[True, False], [True, True], [True, False]]
