"""A dual encoder's folder: what is missing or does not fit is named; of two layouts the chosen library's is read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from dual_cases import block
from safetensors.torch import load_file, save_file
from transformers import CLIPModel

from lile import stage_files
from lile.checks.encoders import check_encoder
from lile.errors import InputError
from lile.features.image_encoder import load_image_encoder
from lile.features.layouts import DUAL_ENCODER, OPEN_CLIP
from lile.features.text_encoder import load_text_encoder
from lile.features.weights import resolve_weights, weights_digest
from lile.fingerprint import files_behind


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
    folder = Path(shutil.copytree(folders["clip"], tmp_path / "half"))
    CLIPModel.from_pretrained(folder).vision_model.save_pretrained(folder)
    with pytest.raises(InputError, match=r"is no dual encoder.*CLIPModel"):
        load_image_encoder(block(folder), 0)


def test_weights_without_the_projection_are_refused(folders, tmp_path):
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
        ({"library": "dual"}, "image with timm or transformers or dual_encoder or open_clip"),
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
        return {Path(path).name for path in stage_files.encoder_files({"encoders": {"clip": encoder}}, "clip")}

    files = {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer_config.json", "vocab.json"}
    assert watched("dual_encoder") == files | {"merges.txt"}
    assert watched("timm") == {"config.json", "model.safetensors"}


def test_a_change_of_one_sides_code_makes_only_that_sides_tokens_again(project_root):
    behind = {
        side: {path.stem for path in files_behind(project_root / f"workflow/scripts/{side}_tokens.py", project_root)}
        for side in ("image", "text")
    }
    assert {"dual_image", "dual_encoder", "open_clip_model"} <= behind["image"]
    assert {"dual_text", "dual_encoder", "open_clip_model"} <= behind["text"]
    assert not {"dual_text", "text_encoder", "transformers_model"} & behind["image"]
    assert not {"dual_image", "image_encoder", "timm_model"} & behind["text"]
