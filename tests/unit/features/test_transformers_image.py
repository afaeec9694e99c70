"""Image encoders of transformers: cut as the whole says, loaded strictly, pictures made as their processor says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from lile import stage_files
from lile.checks.encoders import check_encoder
from lile.errors import InputError
from lile.features.image_encoder import load_image_encoder

SHAPE = {"hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 48,
         "image_size": 32, "patch_size": 8}  # fmt: skip
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor", "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3],
    "resample": 3, "size": {"height": 224, "width": 224}, "do_normalize": True, "do_rescale": True,
    "rescale_factor": 1 / 255,
}  # fmt: skip


def block(weights: Path | str, **values) -> dict:
    shape = {"modality": "image", "library": "transformers", "image_size_px": 32, "trainable_blocks": 2}
    return {"weights": str(weights), **shape, **values}


def save(kind: str, folder: Path, shape: dict | None = None, **others) -> Path:
    torch.manual_seed(2)
    config = getattr(transformers, f"{kind}Config")(**{**(SHAPE if shape is None else shape), **others})
    model = getattr(transformers, f"{kind}Model")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


def published(folder: Path, pixels: torch.Tensor, **others) -> torch.Tensor:
    with torch.no_grad():
        model = transformers.AutoModel.from_pretrained(folder).float().eval()
        return model(pixel_values=pixels, **others).last_hidden_state


def whole(encoder, pixels: torch.Tensor) -> torch.Tensor:
    tokens = encoder.stem(pixels)
    return encoder.top(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool))


@pytest.mark.parametrize(
    ("kind", "others", "prefix"),
    [
        ("ViT", {}, 1),  # Phikon
        ("Dinov2", {}, 1),  # Phikon-v2
        ("Dinov2", {"use_swiglu_ffn": True}, 1),
        ("Dinov2WithRegisters", {"num_register_tokens": 4}, 5),  # Hibou
        ("DINOv3ViT", {"num_register_tokens": 4}, 5),
        ("DeiT", {}, 2),
        ("Beit", {"use_relative_position_bias": True, "drop_path_rate": 0.0}, 1),
        ("SiglipVision", {}, 0),
        ("CLIPVision", {}, 1),  # no norm behind its last layer
    ],
)
def test_top_after_stem_is_the_whole(tmp_path, kind, others, prefix):
    save(kind, tmp_path, **others)
    encoder = load_image_encoder(block(tmp_path), seed=0)
    pixels = torch.randn(3, 3, 32, 32)
    tokens = whole(encoder, pixels)
    torch.testing.assert_close(tokens, published(tmp_path, pixels))
    assert encoder.stem(pixels).shape == (3, prefix + 16, 24)
    (tokens * torch.randn_like(tokens)).sum().backward()
    assert [name for name, p in encoder.top.named_parameters() if p.grad is None] == []
    assert not any(p.requires_grad for p in encoder.stem.parameters())
    about = encoder.about()
    assert (about["library"], about["depth"], about["origin"]) == ("transformers", 2, "pretrained")
    assert json.loads(json.dumps(about)) == about


def test_gradients_equal_those_of_the_whole_model(tmp_path):
    save("ViT", tmp_path)
    encoder = load_image_encoder(block(tmp_path), seed=0)
    pixels = torch.randn(2, 3, 32, 32)
    weight = torch.randn(2, 17, 24)
    (whole(encoder, pixels) * weight).sum().backward()
    full = transformers.AutoModel.from_pretrained(tmp_path).eval()
    (full(pixel_values=pixels).last_hidden_state * weight).sum().backward()
    ours = dict(encoder.top.named_parameters())
    for name, parameter in full.layers[2:].named_parameters():
        torch.testing.assert_close(ours[f"blocks.{name}"].grad, parameter.grad, rtol=1e-3, atol=1e-5)
    assert {name.split(".")[0] for name in ours} == {"blocks", "norm"}


def test_another_image_size_resamples_the_positions(tmp_path):
    save("ViT", tmp_path)
    encoder = load_image_encoder(block(tmp_path, image_size_px=48), seed=0)
    pixels = torch.randn(1, 3, 48, 48)
    torch.testing.assert_close(whole(encoder, pixels), published(tmp_path, pixels, interpolate_pos_encoding=True))


@pytest.mark.parametrize(
    ("kind", "shape", "count"),
    [
        ("Swin", {"embed_dim": 12, "depths": [1, 1], "num_heads": [2, 2], "window_size": 2, "image_size": 32,
                  "drop_path_rate": 0.0}, 16),
        ("ResNet", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}, 16),
        ("ConvNext", {"hidden_sizes": [8, 8, 12, 16], "depths": [1, 1, 1, 1]}, 1),
    ],
)  # fmt: skip
def test_a_cnn_or_pyramid_is_stored_whole_and_never_cut(tmp_path, kind, shape, count):
    save(kind, tmp_path, shape)
    with pytest.raises(InputError, match="cannot be cut before its last 2 blocks"):
        load_image_encoder(block(tmp_path), seed=0)
    encoder = load_image_encoder(block(tmp_path, trainable_blocks=0), seed=0)
    pixels = torch.randn(2, 3, 32, 32)
    expected = published(tmp_path, pixels)
    if expected.ndim == 4:
        expected = expected.flatten(2).transpose(1, 2)
    assert expected.shape[1] == count
    torch.testing.assert_close(encoder.stem(pixels), expected)


def test_pixels_are_those_of_the_models_own_processor(tmp_path):
    save("ViT", tmp_path)
    encoder = load_image_encoder(block(tmp_path), seed=0)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    own = transformers.AutoImageProcessor.from_pretrained(tmp_path, size={"height": 32, "width": 32}, backend="pil")
    expected = torch.from_numpy(own(images=noise, return_tensors="np")["pixel_values"][0])
    torch.testing.assert_close(encoder.pixels(noise), expected, rtol=1e-4, atol=1e-4)
    facts = encoder.about()["transform"]
    assert (facts["interpolation"], facts["mean"], facts["std"]) == ("bicubic", [0.4, 0.5, 0.6], [0.2, 0.25, 0.3])


def test_models_that_cannot_be_read_are_refused_in_one_line(tmp_path):
    def refused(words: str, **values) -> None:
        with pytest.raises(InputError, match=words) as caught:
            load_image_encoder(block(folder, **values), seed=0)
        assert "\n" not in str(caught.value)

    folder = save("ViTMAE", tmp_path / "mae", decoder_hidden_size=24, decoder_num_attention_heads=3)
    refused("gives other tokens of the same picture each time", trainable_blocks=0)
    folder = save("ViT", tmp_path / "vit")
    refused("only 4 layers", trainable_blocks=5)
    refused("gives no tokens for images of 4 px", image_size_px=4)
    processor = folder / "preprocessor_config.json"
    processor.write_text(json.dumps({**PROCESSOR, "rescale_factor": 1 / 127.5}))
    refused("not by 1/255")
    processor.write_text("{broken")
    refused("no image processor can be loaded")
    processor.unlink()
    refused(r"image processor \(preprocessor_config.json or processor_config.json\) missing")


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    """Hibou's config.json may say dinov2, for its own code: the registers must not be dropped in silence."""
    save("Dinov2WithRegisters", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "dinov2"}))
    with pytest.raises(InputError, match=r"no place for \['embeddings\.register_tokens'\].*model_type"):
        load_image_encoder(block(tmp_path), seed=0)
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 5}))
    with pytest.raises(InputError, match="do not fill a Dinov2WithRegistersModel: missing"):
        load_image_encoder(block(tmp_path), seed=0)


def test_random_weights_are_a_function_of_config_and_seed(tmp_path):
    save("ViT", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    asked = block("random", config=str(tmp_path))
    first, again, other = (load_image_encoder(asked, seed).stem.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(values, again[name]) for name, values in first.items())
    assert not all(torch.equal(values, other[name]) for name, values in first.items())


def test_lile_check_looks_for_what_this_library_needs(tmp_path):
    save("ViT", tmp_path)
    assert check_encoder("phikon", block(tmp_path), "image", Path()).status == "PASS"
    assert check_encoder("phikon", block("random", config=str(tmp_path)), "image", Path()).status == "WARN"
    (tmp_path / "preprocessor_config.json").unlink()
    for asked in (block(tmp_path), block("random", config=str(tmp_path))):
        found = check_encoder("phikon", asked, "image", Path())
        assert found.status == "FAIL"
        assert "preprocessor_config.json" in found.found


def test_the_workflow_watches_what_an_encoder_is_loaded_from(tmp_path):
    save("ViT", tmp_path)

    def watched(library: str) -> set[str]:
        encoder = {"weights": str(tmp_path), "config": None, "convert_from": None, "library": library}
        return {Path(path).name for path in stage_files.encoder_files({"encoders": {"vit": encoder}}, "vit")}

    assert watched("transformers") == {"config.json", "model.safetensors", "preprocessor_config.json"}
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    assert watched("timm") == {"config.json", "pytorch_model.bin"}


def test_the_image_path_does_not_import_timm(tmp_path):
    save("ViT", tmp_path)
    code = f"""
import sys
import lile.features.image_encoder
assert "transformers" not in sys.modules, "transformers is imported before it is needed"
lile.features.image_encoder.load_image_encoder({block(tmp_path)!r}, 0)
assert "timm" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
