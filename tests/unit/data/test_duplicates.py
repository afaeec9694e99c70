"""Duplicates: the same picture in other clothes is found, another picture is not, and classes stay small on paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from lile.data.duplicates import find_duplicates, image_links, normalised, text_links
from lile.data.fingerprints import Fingerprints, fingerprint, fingerprints
from lile.data.hamming import near_pairs
from lile.data.links import HASH_BITS, read_duplicates
from lile.errors import InputError
from lile.files import write_csv


def picture(seed: int, side_px: int = 160) -> Image.Image:
    """Blobs of a few sizes: a picture with structure, another one for each seed."""
    random = np.random.default_rng(seed)
    parts = [Image.fromarray(random.integers(0, 256, (n, n, 3), dtype=np.uint8)) for n in (4, 9, 18)]
    grown = [np.asarray(part.resize((side_px, side_px), Image.Resampling.BICUBIC), float) for part in parts]
    return Image.fromarray((grown[0] * 0.5 + grown[1] * 0.3 + grown[2] * 0.2).astype(np.uint8))


def distance(one: bytes, other: bytes) -> int:
    return int(np.bitwise_count(np.frombuffer(one, np.uint8) ^ np.frombuffer(other, np.uint8)).sum())


def test_a_picture_in_other_clothes_is_near_and_another_picture_is_far(tmp_path: Path):
    images = {
        "same.png": picture(0),
        "copy.bmp": picture(0),
        "small.jpg": picture(0).resize((90, 90)),
        "bright.png": ImageEnhance.Brightness(picture(0)).enhance(1.1),
        "other.png": picture(1),
    }
    for name, image in images.items():
        image.save(tmp_path / name)
    prints = {name: fingerprint(str(tmp_path / name)) for name in images}
    assert prints["same.png"] == prints["copy.bmp"], "other bytes in the file, the same pixels"
    assert prints["same.png"].pixels != prints["small.jpg"].pixels
    away = {name: distance(prints["same.png"].look, one.look) for name, one in prints.items()}
    assert max(away["small.jpg"], away["bright.png"]) <= 32
    assert away["other.png"] > 64


def test_pictures_that_show_nothing_are_compared_by_their_pixels_alone(tmp_path: Path):
    for name, level in (("a", 240), ("b", 240), ("c", 20)):
        Image.new("RGB", (40, 40), (level, level, level)).save(tmp_path / f"{name}.png")
    prints = fingerprints([str(tmp_path / f"{name}.png") for name in "abc"])
    assert not prints.shows.any()
    links = list(image_links(["a", "b", "c"], prints, 32))
    assert [tuple(link) for link in links] == [("same_pixels", "a", "b", "0", "")]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.integers(0, 64))
def test_near_pairs_are_those_that_comparing_all_with_all_finds(seed: int, most: int):
    random = np.random.default_rng(seed)
    heads = random.integers(0, 2, (12, HASH_BITS), dtype=np.uint8)
    bits = np.repeat(heads, 5, axis=0)
    for row in bits:
        row[random.choice(HASH_BITS, random.integers(0, 50), replace=False)] ^= 1
    looks = np.unique(np.packbits(bits, axis=1), axis=0)
    pairs, distances = near_pairs(looks, most)
    every = [
        (one, other, int(np.bitwise_count(looks[one] ^ looks[other]).sum()))
        for one in range(len(looks))
        for other in range(one + 1, len(looks))
    ]
    found = [(*pair, length) for pair, length in zip(pairs.tolist(), distances.tolist(), strict=True)]
    assert found == [row for row in every if row[2] <= most]


def test_the_pigeonholes_hold_where_every_band_differs():
    one = np.zeros(HASH_BITS, np.uint8)
    other = one.copy()
    other[:32] = 1  # 17 bands: fifteen of them differ in two bits, two in one
    looks = np.packbits([one, other], axis=1)
    assert [part.tolist() for part in near_pairs(looks, 32)] == [[[0, 1]], [32]]
    assert len(near_pairs(looks, 31)[0]) == 0


def test_comparisons_come_in_pieces(monkeypatch):
    monkeypatch.setattr("lile.data.hamming.CHUNK", 7)
    looks = np.unique(np.random.default_rng(0).integers(0, 4, (60, HASH_BITS // 8), dtype=np.uint8), axis=0)
    pieces = near_pairs(looks, 64)
    monkeypatch.undo()
    whole = near_pairs(looks, 64)
    assert len(whole[0]) > 60
    assert all(np.array_equal(one, other) for one, other in zip(pieces, whole, strict=True))


@pytest.mark.parametrize("most", [-1, 65])
def test_a_threshold_where_near_means_nothing_is_refused(most: int):
    with pytest.raises(InputError, match="near_duplicate_bits"):
        near_pairs(np.zeros((1, HASH_BITS // 8), np.uint8), most)


def test_classes_are_links_to_their_first_image():
    looks = np.zeros((6, HASH_BITS // 8), np.uint8)
    looks[3:5, 0], looks[5] = 3, 255  # two bits from the first three; far from all
    pixels = np.array([[1], [1], [2], [3], [4], [5]], np.uint8).repeat(16, axis=1)
    prints = Fingerprints(pixels, looks, np.ones(6, bool))
    assert [tuple(link)[:4] for link in image_links(list("abcdef"), prints, 2)] == [
        ("same_pixels", "a", "b", "0"),
        ("near_image", "a", "c", "0"),
        ("near_image", "d", "e", "0"),
        ("near_image", "a", "d", "2"),
    ]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Tubular  adenoma.", "tubular adenoma", True),
        ("H&E, x400", "h e x400", True),
        ("ﬁbrosis – grade Ⅱ", "Fibrosis (grade II)", True),  # ligature, numeral: NFKC
        ("Straße", "STRASSE", True),
        ("ER+ tumour", "ER- tumour", False),
        ("size < 2 cm", "size > 2 cm", False),
        ("腺癌。", "腺癌", True),
    ],
)
def test_normalised_texts(one: str, other: str, same: bool):
    assert (normalised(one) == normalised(other)) == same


def test_shared_texts_are_linked_once_per_text():
    captions = pd.DataFrame(
        [("a", "Glands."), ("a", "glands"), ("b", "Stroma."), ("c", "GLANDS!"), ("d", "Necrosis.")],
        columns=["image_id", "text"],
    )
    descriptions = pd.DataFrame(
        [("b", "Stroma. More."), ("d", "stroma more"), ("c", "glands")], columns=["image_id", "text"]
    )
    links = list(text_links(list("abcd"), [captions, descriptions]))
    assert [tuple(link)[:4] for link in links] == [("same_text", "a", "c", ""), ("same_text", "b", "d", "")]
    assert len({link.key for link in links}) == 2


def test_a_text_of_no_image_is_refused():
    with pytest.raises(InputError, match="'z'"):
        list(text_links(["a"], [pd.DataFrame([("z", "Glands.")], columns=["image_id", "text"])]))


def test_without_pictures_texts_alone_are_compared(caplog):
    images = pd.DataFrame({"image_id": ["dev:0", "dev:1", "dev:2"], "path": [f"no/such.npy#{n}" for n in range(3)]})
    texts = pd.DataFrame({"image_id": images["image_id"], "text": ["A dog.", "a dog", "A cat."]})
    with caplog.at_level("INFO", "lile"):
        found = find_duplicates(images, texts, texts[:0], bits=32, workers=1, pictures=False)
    assert found[["kind", "image_a", "image_b"]].to_numpy().tolist() == [["same_text", "dev:0", "dev:1"]]
    assert "3 images: links of same_text 1" in caplog.text
    assert "no pictures: texts alone" in caplog.text


def test_the_table_on_disk(tmp_path: Path):
    for name, seed in (("a", 0), ("b", 1), ("c", 0)):
        picture(seed).save(tmp_path / f"{name}.png")
    images = pd.DataFrame([(name, str(tmp_path / f"{name}.png")) for name in "abc"], columns=["image_id", "path"])
    texts = pd.DataFrame([("a", "One."), ("b", "one"), ("c", "Two.")], columns=["image_id", "text"])
    write_csv(tmp_path / "duplicates.csv", find_duplicates(images, texts, texts, 32, workers=1))
    kinds = read_duplicates(tmp_path / "duplicates.csv")[["kind", "image_a", "image_b"]].to_numpy().tolist()
    assert kinds == [["same_pixels", "a", "c"], ["same_text", "a", "b"]]
    write_csv(tmp_path / "none.csv", find_duplicates(images[:2], texts[:1], texts[2:2], 32, workers=1))
    assert read_duplicates(tmp_path / "none.csv").empty
    (tmp_path / "bad.csv").write_text("kind,image_a\n")
    with pytest.raises(InputError, match="columns must be"):
        read_duplicates(tmp_path / "bad.csv")


def test_several_processes_give_the_same(tmp_path: Path):
    picture(0, 32).save(tmp_path / "a.png")
    picture(1, 32).save(tmp_path / "b.png")
    paths = [str(tmp_path / f"{'ab'[n % 2]}.png") for n in range(202)]
    one, two = fingerprints(paths), fingerprints(paths, workers=2)
    assert all(np.array_equal(getattr(one, name), getattr(two, name)) for name in ("pixels", "looks", "shows"))
    assert len(np.unique(one.looks, axis=0)) == 2


@pytest.mark.data
def test_real_photographs(test_data: Path):
    paths = sorted((test_data / "flickr8k" / "images").iterdir())[:150]
    prints = fingerprints([str(path) for path in paths])
    assert list(image_links([path.name for path in paths], prints, 32)) == [], "150 photographs, all different"
