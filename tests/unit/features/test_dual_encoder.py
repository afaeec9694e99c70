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
from PIL import Image
from transformers import AutoModel, AutoProcessor

from lile import stages
from lile.checks.encoders import check_encoder
from lile.errors import InputError
from lile.features.extract import extract_image_tokens, extract_text_tokens
from lile.features.image_encoder import load_image_encoder
from lile.features.layouts import DUAL_ENCODER, OPEN_CLIP
from lile.features.store import TokenStore
from lile.features.text_encoder import load_text_encoder
from lile.features.weights import resolve_weights, weights_digest

TEXTS = ["a gland", "necrosis and mitoses in the large tumour", "cells with dense nuclei", "stroma"]
KINDS = ["clip", "align", "siglip", "vision_text", "chinese_clip"]
OWN_LENGTH = {"clip": 77, "align": 64, "siglip": dual_cases.LENGTH, "vision_text": 40, "chinese_clip": 52}
FULL_LENGTH = {"siglip"}  # padded to it, whatever the text


def block(folder: Path | str, **values) -> dict:
    return {"weights": str(folder), "library": "dual_encoder", "trainable_blocks": 0, **values}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, words, save_tokenizer) -> dict[str, Path]:
    """One tiny model of each kind, as the hub has them."""
    root = tmp_path_factory.mktemp("hub")
    return {
        "clip": dual_cases.save_clip(root / "clip"),
        "align": dual_cases.save_align(root / "align", words),
        "siglip": dual_cases.save_siglip(root / "siglip", save_tokenizer(root / "siglip", 1)),
        "vision_text": dual_cases.save_vision_text(root / "vision_text", words),
        "chinese_clip": dual_cases.save_chinese_clip(root / "chinese_clip", words),
    }


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
    image, text = load_image_encoder(block(folders[kind]), 0), load_text_encoder(block(folders[kind]), 0)
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
    image, text = load_image_encoder(block(folders[kind]), 0), load_text_encoder(block(folders[kind]), 0)
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


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_has_one_vector_per_item_and_knows_its_model(folders, tables, tmp_path, kind):
    images, texts = tables
    image, text = load_image_encoder(block(folders[kind]), 0), load_text_encoder(block(folders[kind]), 0)
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


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (["preprocessor_config.json"], r"image processor \(preprocessor_config\.json or processor.*\) missing"),
        (["vocab.json", "merges.txt"], r"tokenizer \(tokenizer\.json or vocab\.json and merges\.txt.* missing"),
        (["merges.txt"], r"tokenizer \(tokenizer\.json or vocab\.json and merges\.txt.* missing"),
        (["model.safetensors"], "weights missing"),
        (["config.json", "model.safetensors"], r"config\.json and weights missing"),
    ],
)
@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_folder_that_lacks_files_is_named_with_them(folders, tmp_path, modality, gone, said):
    folder = Path(shutil.copytree(folders["clip"], tmp_path / "clip"))
    for name in gone:
        (folder / name).unlink()
    load = load_image_encoder if modality == "image" else load_text_encoder
    with pytest.raises(InputError, match=said) as caught:
        load(block(folder), 0)
    message = str(caught.value)
    assert str(folder) in message
    assert "expected the hub's own layout, config.json, model.safetensors" in message
    assert "\n" not in message
    found = check_encoder("clip", {**block(folder), "modality": modality}, modality, tmp_path)
    assert (found.status, found.found) == ("FAIL", message)


def test_half_a_model_is_no_dual_encoder(folders, tmp_path):
    from transformers import CLIPModel

    folder = Path(shutil.copytree(folders["clip"], tmp_path / "half"))
    CLIPModel.from_pretrained(folder).vision_model.save_pretrained(folder)
    with pytest.raises(InputError, match=r"is no dual encoder.*CLIPModel"):
        load_image_encoder(block(folder), 0)


def test_weights_without_the_projection_are_refused(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(folders["clip"], tmp_path / "clip"))
    state = load_file(folder / "model.safetensors")
    del state["visual_projection.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"do not fill a CLIPModel: missing \['visual_projection\.weight'\]"):
        load_image_encoder(block(folder), 0)


def test_files_of_two_models_are_refused(folders, tmp_path):
    folder = Path(shutil.copytree(folders["clip"], tmp_path / "clip"))
    found = json.loads((folder / "preprocessor_config.json").read_text())
    other = {"size": {"shortest_edge": 48}, "crop_size": {"height": 48, "width": 48}}
    (folder / "preprocessor_config.json").write_text(json.dumps(found | other))
    with pytest.raises(InputError, match="cannot read what its own processor"):
        load_image_encoder(block(folder), 0)
    (folder / "preprocessor_config.json").write_text(json.dumps({**found, "do_center_crop": False}))
    with pytest.raises(InputError, match="needed is one fixed size"):
        load_image_encoder(block(folder), 0)
    (folder / "preprocessor_config.json").write_text("{")
    with pytest.raises(InputError, match="no image processor can be loaded"):
        load_image_encoder(block(folder), 0)
    vocabulary = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps({**vocabulary, "extra": len(vocabulary)}))
    with pytest.raises(InputError, match="Check that tokenizer files and config"):
        load_text_encoder(block(folder), 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trainable_blocks": 2}, "set trainable_blocks: 0"),
        ({"weights": "random", "config": "x"}, "has pretrained weights"),
        ({"image_size_px": 64}, "its own processor makes 32 px"),
        ({"library": "open_clip"}, "open_clip_config.json and weights missing.*set library: dual_encoder"),
        ({"library": "dual"}, "image with timm or dual_encoder or open_clip"),
    ],
)
def test_a_wrong_config_is_refused_with_a_word_on_what_to_do(folders, change, said):
    with pytest.raises(InputError, match=said):
        load_image_encoder({**block(folders["clip"]), **change}, 0)


def test_offline_says_what_to_fetch_and_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError) as caught:
        load_image_encoder(block("vinid/plip"), 0)
    message = str(caught.value)
    assert "\n" not in message
    for word in ("config.json", "preprocessor_config.json", "tokenizer files", "HF_HUB_OFFLINE is set"):
        assert word in message
    assert message.endswith("of the hub repository vinid/plip into resources/encoders/vinid--plip/")
    found = check_encoder("plip", {**block("vinid/plip"), "modality": "image"}, "image", tmp_path)
    assert (found.status, found.found) == ("FAIL", message)


def test_of_a_hub_repository_with_both_layouts_the_library_decides_what_is_read(folders, tmp_path, monkeypatch):
    """QuiltNet is published in both; a folder of it may hold all of them."""
    folder = Path(shutil.copytree(folders["clip"], tmp_path / "resources" / "encoders" / "me--quilt"))
    (folder / "open_clip_model.safetensors").write_bytes(b"another model")
    (folder / "open_clip_config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert resolve_weights("me/quilt", DUAL_ENCODER).resolve() == folder
    assert resolve_weights("me/quilt", OPEN_CLIP).resolve() == folder
    assert weights_digest(folder, DUAL_ENCODER) == weights_digest(folders["clip"], DUAL_ENCODER)
    assert weights_digest(folder, OPEN_CLIP) != weights_digest(folder, DUAL_ENCODER)
    names = [*(path.name for path in folder.iterdir()), "tf_model.h5", "pytorch_model.bin", "README.md"]
    assert DUAL_ENCODER.wanted_among(names) == [
        "config.json", "model.safetensors", "preprocessor_config.json", "tokenizer_config.json", "vocab.json",
        "merges.txt",
    ]  # fmt: skip
    assert OPEN_CLIP.wanted_among(names)[:2] == ["open_clip_config.json", "open_clip_model.safetensors"]


def test_the_workflow_watches_a_folders_files(folders):
    def watched(library: str) -> set[str]:
        encoder = {"weights": str(folders["clip"]), "config": None, "convert_from": None, "library": library}
        return {Path(path).name for path in stages.encoder_files({"encoders": {"clip": encoder}}, "clip")}

    files = {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer_config.json", "vocab.json"}
    assert watched("dual_encoder") == files | {"merges.txt"}
    assert watched("timm") == {"config.json", "model.safetensors"}


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
