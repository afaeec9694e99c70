"""Dual encoders: what is stored is what the published model gives by its own processor and tokenizer, and no less."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dual_cases
import numpy as np
import pandas as pd
import pytest
import torch
from dual_cases import block
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModel, AutoProcessor

from lile.errors import InputError
from lile.features.extract import extract_image_tokens, extract_text_tokens
from lile.features.image_encoder import load_image_encoder
from lile.features.store import TokenStore
from lile.features.text_encoder import load_text_encoder

TEXTS = ["a gland", "necrosis and mitoses in the large tumour", "cells with dense nuclei", "stroma"]
KINDS = ["clip", "align", "siglip", "vision_text", "chinese_clip"]
OWN_LENGTH = {"clip": 77, "align": 64, "siglip": dual_cases.LENGTH, "vision_text": 40, "chinese_clip": 52}
FULL_LENGTH = {"siglip"}  # padded to it, whatever the text


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Pictures of several shapes, one smaller than the model's input, one grey."""
    rng = np.random.default_rng(4)
    sizes = [(40, 57), (90, 33), (32, 32), (20, 25)]
    found = [Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]
    return [*found, found[0].convert("L")]


@pytest.fixture
def tables(tmp_path, pictures) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Images and descriptions as the data stage writes them."""
    paths = [tmp_path / f"{place}.png" for place in range(4)]
    for picture, path in zip(pictures, paths, strict=False):
        picture.save(path)
    ids = [f"i{place}" for place in range(4)]
    images = pd.DataFrame({"image_id": ids, "path": list(map(str, paths)), "group": ids, "split": ""})
    texts = pd.DataFrame({"text": TEXTS, "text_id": [f"t{place}" for place in range(4)]})
    return images, texts


def published(folder: Path, pictures: list[Image.Image], texts: list[str], padding: bool | str = True) -> tuple:
    """Pixels and both embeddings by transformers alone, as its pages say."""
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    model = AutoModel.from_pretrained(folder).eval()
    pixels = processor.image_processor(images=[p.convert("RGB") for p in pictures], return_tensors="pt")["pixel_values"]
    tokens = processor.tokenizer(texts, padding=padding, truncation=True, return_tensors="pt")
    if padding == "max_length":
        tokens.pop("attention_mask", None)
    with torch.no_grad():
        found = model.get_image_features(pixel_values=pixels), model.get_text_features(**tokens)
    return pixels, found[0].pooler_output, found[1].pooler_output, model


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_those_of_the_published_model(folders, pictures, kind):
    image, text = (
        load_image_encoder(block(folders[kind]), 0),
        load_text_encoder(block(folders[kind]), 0),
    )
    padding = "max_length" if kind in FULL_LENGTH else True
    pixels, images, texts, _ = published(folders[kind], pictures, TEXTS, padding)
    ours = torch.stack([image.pixels(picture) for picture in pictures])
    assert torch.equal(ours, pixels)
    with torch.no_grad():
        torch.testing.assert_close(image.stem(ours)[:, 0], images)
        ids, keep, _ = text.tokenize(TEXTS)
        torch.testing.assert_close(text.stem(ids, keep)[:, 0], texts, rtol=1e-4, atol=1e-5)
    assert image.width == text.width == images.shape[1]
    assert torch.pdist(images).min() > 1e-2, "a test of vectors that are all alike would show nothing"
    assert torch.pdist(texts).min() > 1e-2


@pytest.mark.parametrize("kind", ["clip", "align"])
def test_the_whole_processor_gives_the_same(folders, pictures, kind):
    """What a person would write: processor(text, images) and the model's own logits; their ranks are the cosine's."""
    image, text = (
        load_image_encoder(block(folders[kind]), 0),
        load_text_encoder(block(folders[kind]), 0),
    )
    processor = AutoProcessor.from_pretrained(folders[kind], backend="pil")
    model = AutoModel.from_pretrained(folders[kind])
    padding = {"padding": True} if kind == "clip" else {}  # ALIGN's processor has its own
    rgb = [picture.convert("RGB") for picture in pictures]
    with torch.no_grad():
        whole = model.eval()(**processor(text=TEXTS, images=rgb, return_tensors="pt", **padding))
        vectors = image.stem(torch.stack([image.pixels(picture) for picture in pictures]))[:, 0]
        ids, keep, _ = text.tokenize(TEXTS)
        others = text.stem(ids, keep)[:, 0]
    cosine = torch.nn.functional.normalize(vectors, dim=1) @ torch.nn.functional.normalize(others, dim=1).T
    scale = model.logit_scale.exp() if kind == "clip" else 1 / model.temperature
    torch.testing.assert_close(whole.logits_per_image, cosine * scale, rtol=1e-4, atol=1e-5)
    assert scale > 0


def test_a_folder_as_clip_was_published_in_2021_gives_the_same(folders, pictures, tmp_path):
    """Sizes as bare numbers, a feature extractor, pickled weights with position ids, and an end marker numbered 2."""
    folder = Path(shutil.copytree(folders["clip"], tmp_path / "clip"))
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    kept = {
        name: processor[name] for name in ("do_center_crop", "do_normalize", "do_resize", "image_mean", "image_std")
    }
    sizes = {"crop_size": dual_cases.SIDE_PX, "size": dual_cases.SIDE_PX, "resample": 3}
    old = {**kept, **sizes, "feature_extractor_type": "CLIPFeatureExtractor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(old))
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    (folder / "config.json").write_text(json.dumps(config))
    state = load_file(folder / "model.safetensors")
    state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    for load, inputs in (
        (load_image_encoder, lambda encoder: (torch.stack([encoder.pixels(picture) for picture in pictures]),)),
        (load_text_encoder, lambda encoder: encoder.tokenize(TEXTS)[:2]),
    ):
        ours, before = load(block(folders["clip"]), 0), load(block(folder), 0)
        with torch.no_grad():
            torch.testing.assert_close(before.stem(*inputs(before)), ours.stem(*inputs(ours)))


def test_a_folder_as_transformers_5_saves_processors_gives_the_same(folders, pictures, tmp_path):
    folder = Path(shutil.copytree(folders["clip"], tmp_path / "clip"))
    AutoProcessor.from_pretrained(folder).save_pretrained(folder)
    (folder / "preprocessor_config.json").unlink()
    assert "image_processor" in json.loads((folder / "processor_config.json").read_text())
    ours, now = (load_image_encoder(block(place), 0) for place in (folders["clip"], folder))
    assert torch.equal(now.pixels(pictures[0]), ours.pixels(pictures[0]))
    ours, now = (load_text_encoder(block(place), 0) for place in (folders["clip"], folder))
    assert all(torch.equal(a, b) for a, b in zip(now.tokenize(TEXTS)[:2], ours.tokenize(TEXTS)[:2], strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_has_one_vector_per_item_and_knows_its_model(folders, tables, tmp_path, kind):
    images, texts = tables
    image, text = (
        load_image_encoder(block(folders[kind]), 0),
        load_text_encoder(block(folders[kind]), 0),
    )
    extract_image_tokens(images, image, tmp_path / "i.h5", name="see", batch_size=3, threads=2)
    extract_text_tokens(texts, text, tmp_path / "t.h5", name="read", batch_size=3)
    rgb = [Image.open(path) for path in images["path"]]
    for path, encoder, ids, items in (
        (tmp_path / "i.h5", image, images["image_id"], [image.pixels(picture)[None] for picture in rgb]),
        (tmp_path / "t.h5", text, texts["text_id"], TEXTS),
    ):
        store = TokenStore([path], expect=encoder.about())
        tokens, keep = store.read(store.rows_of(list(ids)))
        assert tokens.shape == (4, 1, encoder.width)
        assert keep.all()
        with torch.no_grad():
            inputs = [(item,) if encoder is image else encoder.tokenize([item])[:2] for item in items]
            alone = [encoder.stem(*given) for given in inputs]
        # float16 keeps 11 bits of a number, and a text's padding may change the order of a sum.
        np.testing.assert_allclose(tokens, torch.cat(alone).numpy(), rtol=2e-3, atol=2e-4)


def test_a_store_of_other_weights_config_or_processor_is_refused(folders, tables, tmp_path):
    encoder = load_image_encoder(block(folders["clip"]), 0)
    extract_image_tokens(tables[0], encoder, tmp_path / "i.h5", name="see")

    def changed(file: str, **values) -> dict:
        other = Path(shutil.copytree(folders["clip"], tmp_path / file / "clip"))
        found = json.loads((other / file).read_text())
        (other / file).write_text(json.dumps(found | values))
        return load_image_encoder(block(other), 0).about()

    moved = shutil.copytree(folders["clip"], tmp_path / "moved")
    TokenStore([tmp_path / "i.h5"], expect=load_image_encoder(block(moved), 0).about())
    with pytest.raises(InputError, match="image_mean"):
        TokenStore([tmp_path / "i.h5"], expect=changed("preprocessor_config.json", image_mean=[0.5, 0.5, 0.5]))
    config = json.loads((folders["clip"] / "config.json").read_text())
    gelu = {"vision_config": {**config["vision_config"], "hidden_act": "gelu"}}
    with pytest.raises(InputError, match="tokens made by weights"):
        TokenStore([tmp_path / "i.h5"], expect=changed("config.json", **gelu))


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_cut_to_the_models_own_length_and_counted(folders, kind):
    encoder = load_text_encoder(block(folders[kind]), 0)
    assert encoder.max_tokens == OWN_LENGTH[kind]
    ids, keep, cut = encoder.tokenize(["gland " * 500, "a gland"])
    assert cut == 1
    assert ids.shape == (2, OWN_LENGTH[kind])
    assert keep.sum(1).tolist()[0] == OWN_LENGTH[kind]
    assert ids[0, -1] == encoder.tokenizer(["a"])["input_ids"][0][-1], "the end marker stays: it is what CLIP reads"
    shorter = load_text_encoder(block(folders[kind], max_tokens=6), 0)
    ids, keep, cut = shorter.tokenize(["gland " * 500])
    assert (keep.sum().item(), cut) == (6, 1)
    assert shorter.about() != encoder.about()


def test_clips_77_tokens_are_warned_of_and_kept_with_the_store(folders, tmp_path, caplog):
    texts = ["x" * 75, "x" * 76, "x " * 75, "x " * 76]  # a letter is a token here, and two markers are added
    table = pd.DataFrame({"text": texts, "text_id": list("abcd")})
    with caplog.at_level(logging.WARNING):
        extract_text_tokens(table, load_text_encoder(block(folders["clip"]), 0), tmp_path / "t.h5", name="clip")
    assert any("2 of 4 texts are longer than 77 tokens" in record.getMessage() for record in caplog.records)
    assert TokenStore([tmp_path / "t.h5"]).about["truncated"] == 2


def test_the_scripts(folders, tables, tmp_path, run_script: Callable[..., None]):
    images, texts = tables
    images.to_csv(tmp_path / "images.csv", index=False)
    whole = texts.assign(description_id=texts["text_id"], caption_id="c", image_id="i", group="g")
    whole.to_csv(tmp_path / "descriptions.csv", index=False)
    for modality, table in (("image", "images"), ("text", "descriptions")):
        config = {"encoder_name": "clip", "seed": 0, "encoder": block(folders["clip"], modality=modality)}
        out = tmp_path / f"{modality}.h5"
        words = ["--config-json", json.dumps(config), f"--{table}", tmp_path / f"{table}.csv", "--out", out]
        run_script(f"{modality}_tokens", *words, "--log", tmp_path / "log")
        store = TokenStore([out])
        assert (len(store), store.width, store.about["library"]) == (4, 12, "dual_encoder")


def test_other_encoders_need_no_transformers_and_no_open_clip(tiny_deit):
    code = f"""
import sys
import lile.features.dual_image, lile.features.dual_text
assert not {{"transformers", "open_clip", "timm"}} & set(sys.modules)
from lile.features.image_encoder import load_image_encoder
load_image_encoder({{"weights": {str(tiny_deit)!r}, "image_size_px": 32}}, 0)
assert "open_clip" not in sys.modules and "lile.features.dual_image" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
