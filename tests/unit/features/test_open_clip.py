"""open_clip's layout: what is stored is what open_clip gives, and a text encoder of transformers is found locally."""

from __future__ import annotations

import shutil
from pathlib import Path

import dual_cases
import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from PIL import Image

from lile.checks.encoders import check_encoder
from lile.errors import InputError
from lile.features.extract import extract_image_tokens, extract_text_tokens
from lile.features.image_encoder import load_image_encoder
from lile.features.store import TokenStore
from lile.features.text_encoder import load_text_encoder

TEXTS = ["a gland", "necrosis and mitoses in the large tumour", "cells with dense nuclei", "stroma"]
KINDS = ["own", "biomed"]
LENGTH = {"own": 20, "biomed": dual_cases.LENGTH}


def block(folder: Path | str, **values) -> dict:
    return {"weights": str(folder), "library": "open_clip", "trainable_blocks": 0, **values}


@pytest.fixture(scope="module")
def root(tmp_path_factory, words) -> Path:
    """A working folder with both kinds, and the config.json of the text encoder where a person would put it."""
    root = tmp_path_factory.mktemp("open_clip")
    dual_cases.save_open_clip(root / "own")
    dual_cases.save_biomed_clip(root / "biomed", root / "resources" / "encoders" / "me--bert", words)
    return root


@pytest.fixture(autouse=True)
def offline(root, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(root / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(4)
    sizes = [(40, 57), (90, 33), (32, 32), (20, 25)]
    return [Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


def published(root: Path, kind: str, pictures: list[Image.Image]) -> tuple:
    """Pixels and both embeddings by open_clip alone."""
    own = {}
    if kind == "biomed":
        text = {
            "hf_model_name": str(root / "resources/encoders/me--bert"), "hf_proj_type": "mlp",
            "hf_pooler_type": "cls_last_hidden_state_pooler", "hf_model_pretrained": False, "context_length": 16,
        }  # fmt: skip
        own = {"text_cfg": text}
    name = f"local-dir:{root / kind}"
    model, preprocess = open_clip.create_model_from_pretrained(name, **own)
    pixels = torch.stack([preprocess(picture) for picture in pictures])
    with torch.no_grad():
        model.eval()
        return pixels, model.encode_image(pixels), model.encode_text(open_clip.get_tokenizer(name)(TEXTS))


@pytest.mark.parametrize("kind", KINDS)
def test_stored_vectors_are_those_of_open_clip(root, pictures, tmp_path, kind):
    image, text = load_image_encoder(block(kind), 0), load_text_encoder(block(kind), 0)
    pixels, images, texts = published(root, kind, pictures)
    assert torch.equal(torch.stack([image.pixels(picture) for picture in pictures]), pixels)
    assert torch.pdist(images).min() > 1e-2
    assert torch.pdist(texts).min() > 1e-2
    ids = [f"i{place}" for place in range(4)]
    paths = [tmp_path / f"{place}.png" for place in range(4)]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    table = pd.DataFrame({"image_id": ids, "path": list(map(str, paths)), "text_id": ids, "text": TEXTS})
    extract_image_tokens(table, image, tmp_path / "i.h5", name="see", batch_size=3)
    extract_text_tokens(table, text, tmp_path / "t.h5", name="read", batch_size=3)
    for name, encoder, expected in (("i.h5", image, images), ("t.h5", text, texts)):
        store = TokenStore([tmp_path / name], expect=encoder.about())
        tokens, keep = store.read(store.rows_of(ids))
        assert tokens.shape == (4, 1, 12) == (4, 1, encoder.width)
        assert keep.all()
        np.testing.assert_allclose(tokens[:, 0], expected, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_cut_to_the_models_own_length_and_counted(kind):
    encoder = load_text_encoder(block(kind), 0)
    fits, long = "gland " * (LENGTH[kind] - 2), "gland " * (LENGTH[kind] - 1)
    ids, keep, cut = encoder.tokenize([fits, long, "a gland", ""])
    assert (encoder.max_tokens, cut, ids.shape) == (LENGTH[kind], 1, (4, LENGTH[kind]))
    assert torch.equal(ids[0], ids[1])
    assert torch.equal(ids, open_clip.get_tokenizer(f"local-dir:{kind}")([fits, long, "a gland", ""]))
    shorter = load_text_encoder(block(kind, max_tokens=6), 0)
    ids, keep, cut = shorter.tokenize([fits, "a gland"])
    assert (ids.shape, keep.shape, cut) == ((2, LENGTH[kind]), (2, LENGTH[kind]), 1)
    assert torch.equal(ids[1], encoder.tokenize(["a gland"])[0][0])
    assert shorter.tokenize([])[0].shape == (0, LENGTH[kind])
    assert shorter.about() != encoder.about()


def test_another_text_config_is_another_model(root, tmp_path, monkeypatch, words):
    first = load_image_encoder(block("biomed"), 0).about()
    shutil.copytree(root, tmp_path / "root")
    monkeypatch.chdir(tmp_path / "root")
    assert load_image_encoder(block("biomed"), 0).about() == first
    path = Path("resources/encoders/me--bert/config.json")
    path.write_text(path.read_text().replace('"hidden_act": "gelu"', '"hidden_act": "relu"'))
    assert load_text_encoder(block("biomed"), 0).about()["weights_digest"] != first["weights_digest"]


@pytest.mark.parametrize(
    ("kind", "gone", "said"),
    [
        ("own", "open_clip_config.json", r"open_clip_config\.json missing"),
        ("own", "open_clip_model.safetensors", "weights missing; expected .*open_clip_model"),
        ("biomed", "vocab.txt", r"biomed: tokenizer \(tokenizer\.json or .* missing; copy it"),
        (
            "biomed",
            "../resources/encoders/me--bert/config.json",
            r"biomed.*needs? .*config\.json|whose config\.json is needed",
        ),
    ],
)
def test_missing_files_are_named(root, tmp_path, monkeypatch, kind, gone, said):
    shutil.copytree(root, tmp_path / "root")
    monkeypatch.chdir(tmp_path / "root")
    (Path(kind) / gone).unlink()
    with pytest.raises(InputError, match=said) as caught:
        load_image_encoder(block(kind), 0)
    assert "\n" not in str(caught.value)
    found = check_encoder("clip", {**block(kind), "modality": "text"}, "text", Path())
    assert found.status == "FAIL"
    assert "config.json" in found.found or "tokenizer" in found.found


def test_a_text_encoder_that_is_nowhere_says_where_its_config_belongs(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        load_text_encoder(block(root / "biomed"), 0)
    message = str(caught.value)
    assert "its text encoder is me/bert, whose config.json is needed" in message
    assert message.endswith("Download config.json of the hub repository me/bert into resources/encoders/me--bert/")
    found = check_encoder("clip", {**block(root / "biomed"), "modality": "image"}, "image", Path())
    assert (found.status, message.rsplit("Download", 1)[1] in found.found) == ("FAIL", True)
    monkeypatch.chdir(root)
    assert check_encoder("clip", {**block("biomed"), "modality": "image"}, "image", Path()).status == "PASS"


def test_weights_and_config_of_two_models_are_refused(root, tmp_path):
    shutil.copytree(root / "own", tmp_path / "own")
    config = tmp_path / "own" / "open_clip_config.json"
    config.write_text(config.read_text().replace('"embed_dim": 12', '"embed_dim": 10'))
    with pytest.raises(InputError, match="the model cannot be built from it") as caught:
        load_text_encoder(block(tmp_path / "own"), 0)
    assert "\n" not in str(caught.value)
    config.write_text("{}")
    with pytest.raises(InputError, match="no config of an open_clip model"):
        load_text_encoder(block(tmp_path / "own"), 0)
    config.write_text('{"model_cfg": {"text_cfg": 1, "vision_cfg": {}}}')
    with pytest.raises(InputError, match="must hold keys with values"):
        load_image_encoder(block(tmp_path / "own"), 0)


def test_tokenizers_that_draw_are_refused(root, tmp_path):
    shutil.copytree(root / "own", tmp_path / "own")
    config = tmp_path / "own" / "open_clip_config.json"
    drawn = '"context_length": 20, "tokenizer_kwargs": {"reduction_mask": "random"}'
    config.write_text(config.read_text().replace('"context_length": 20', drawn))
    with pytest.raises(InputError, match="reduction_mask are not supported"):
        load_text_encoder(block(tmp_path / "own"), 0)
