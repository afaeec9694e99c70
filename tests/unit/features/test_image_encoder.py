"""Image encoders: the cut gives the whole model's tokens, whatever the model, and random weights have a name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from lile.errors import InputError
from lile.features.image_encoder import load_image_encoder


def block(weights: Path | str, **values) -> dict:
    return {"weights": str(weights), "modality": "image", "library": "timm", "image_size_px": 32, **values}


def keep_of(tokens: torch.Tensor) -> torch.Tensor:
    return torch.ones(tokens.shape[:2], dtype=torch.bool)


@pytest.mark.parametrize("trainable", [0, 1, 2, 4])
def test_top_after_stem_is_the_whole_deit(tiny_deit, trainable):
    encoder = load_image_encoder(block(tiny_deit, trainable_blocks=trainable), seed=0)
    whole = timm.create_model(f"local-dir:{tiny_deit}", pretrained=True).eval()
    pixels = torch.randn(3, 3, 32, 32)
    tokens = encoder.stem(pixels)
    assert tokens.shape == (3, 17, 24)
    assert encoder.width == 24
    torch.testing.assert_close(encoder.top.eval()(tokens, keep_of(tokens)), whole.forward_features(pixels))
    about = encoder.about()
    assert (about["depth"], about["trainable_blocks"], about["origin"]) == (4 - trainable, trainable, "pretrained")
    assert json.loads(json.dumps(about)) == about


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("deit_tiny_distilled_patch16_224", {}),
        ("vit_tiny_patch16_224", {"pre_norm": True, "class_token": False, "global_pool": "avg", "fc_norm": False}),
        ("vit_tiny_patch16_224", {"init_values": 0.1, "reg_tokens": 3, "qk_norm": True}),
    ],
)
def test_other_vits_are_cut_rightly_too(save_timm, tmp_path, architecture, arguments):
    arguments = {"embed_dim": 24, "depth": 3, "num_heads": 3, "img_size": 32, "patch_size": 8, **arguments}
    folder = tmp_path / "vit"
    model = timm.create_model(architecture, num_classes=5, **arguments).eval()
    heads = [name for name in ("head", "head_dist") if hasattr(model, name)]
    save_timm(model, architecture, folder, {**arguments, "num_classes": 5}, classifier=heads)
    encoder = load_image_encoder(block(folder, trainable_blocks=2), seed=0)
    pixels = torch.randn(2, 3, 32, 32)
    tokens = encoder.stem(pixels)
    torch.testing.assert_close(encoder.top.eval()(tokens, keep_of(tokens)), model.forward_features(pixels))


def test_the_stem_is_frozen_and_every_parameter_of_the_top_learns(tiny_deit):
    encoder = load_image_encoder(block(tiny_deit, trainable_blocks=2), seed=0)
    encoder.stem.train()
    assert not any(module.training for module in encoder.stem.modules())
    assert not any(parameter.requires_grad for parameter in encoder.stem.parameters())
    assert encoder.top.training
    tokens = encoder.stem(torch.randn(2, 3, 32, 32))
    (encoder.top(tokens, keep_of(tokens)) * torch.randn(2, 17, 24)).sum().backward()
    # A key's bias adds the same to all scores of a softmax: its gradient is zero up to rounding in any model.
    dead = [name for name, p in encoder.top.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []
    names = [name for name, _ in encoder.top.named_parameters()]
    assert {name.split(".")[0] for name in names} == {"blocks", "norm"}


def test_tokens_that_are_not_kept_change_nothing(tiny_deit):
    top = load_image_encoder(block(tiny_deit, trainable_blocks=2), seed=0).top.eval()
    tokens = torch.randn(2, 5, 24)
    padded = torch.cat([tokens, 100 * torch.ones(2, 3, 24)], dim=1)
    keep = torch.arange(8).expand(2, 8) < 5
    torch.testing.assert_close(top(padded, keep)[:, :5], top(tokens, keep_of(tokens)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "architecture", ["resnet10t", "mobilenetv3_small_050", "convnext_atto", "swin_tiny_patch4_window7_224"]
)
def test_a_cnn_or_pyramid_is_read_as_a_grid(save_timm, tmp_path, architecture):
    model = timm.create_model(architecture, num_classes=5)
    folder, size = tmp_path / "cnn", 224 if "swin" in architecture else 64
    classifier, first = model.default_cfg["classifier"], model.default_cfg["first_conv"]
    save_timm(model, architecture, folder, {"num_classes": 5}, classifier=classifier, first_conv=first)
    encoder = load_image_encoder(block(folder, trainable_blocks=0, image_size_px=size), seed=0)
    pixels = torch.randn(2, 3, size, size)
    features = model.eval().forward_features(pixels)
    if features.shape[-1] != model.num_features:
        features = features.permute(0, 2, 3, 1)  # to [B, h, w, C]
    tokens = encoder.stem(pixels)
    assert tokens.shape == (2, (size // 32) ** 2, encoder.width)
    for row in range(size // 32):  # row by row, as one reads
        torch.testing.assert_close(tokens[:, row * (size // 32)], features[:, row, 0])
    assert encoder.top(tokens, keep_of(tokens)) is tokens
    assert encoder.about()["depth"] is None
    with pytest.raises(InputError, match="trainable_blocks: 0"):
        load_image_encoder(block(folder, trainable_blocks=1, image_size_px=size), seed=0)


@pytest.fixture
def config_only(tiny_deit, tmp_path) -> Path:
    (tmp_path / "config.json").write_text((tiny_deit / "config.json").read_text())
    return tmp_path


def test_random_weights_are_a_function_of_config_and_seed_and_leave_the_global_state_alone(config_only):
    cfg = block("random", config=str(config_only), trainable_blocks=2)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = load_image_encoder(cfg, seed=0)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
    again, other = load_image_encoder(cfg, seed=0), load_image_encoder(cfg, seed=1)
    for name, values in first.stem.state_dict().items():
        assert torch.equal(values, again.stem.state_dict()[name]), name
    assert any(
        not torch.equal(values, other.stem.state_dict()[name]) for name, values in first.stem.state_dict().items()
    )
    assert first.about() == again.about()
    assert first.about()["origin"] == "random"
    assert first.about()["weights_digest"] != other.about()["weights_digest"]


def test_loading_leaves_the_global_random_state_alone(tiny_deit):
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    load_image_encoder(block(tiny_deit), seed=0)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_pixels_are_squashed_and_normalised_as_the_config_says(tiny_deit):
    encoder = load_image_encoder(block(tiny_deit), seed=0)
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
    grey = encoder.pixels(Image.new("RGB", (100, 7), (51, 102, 204)))
    assert grey.shape == (3, 32, 32)
    assert grey.dtype == torch.float32
    expected = (torch.tensor([0.2, 0.4, 0.8]) - mean) / std
    torch.testing.assert_close(grey, expected[:, None, None].expand(3, 32, 32))
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8))
    squashed = np.asarray(noise.resize((32, 32), Image.Resampling.BICUBIC), dtype=np.float32) / 255
    expected = (torch.from_numpy(squashed).permute(2, 0, 1) - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(encoder.pixels(noise), expected)
    facts = encoder.about()["transform"]
    assert facts == {
        "size_px": 32, "resize": "squash", "interpolation": "bicubic", "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]
    }  # fmt: skip


def test_another_image_size_resamples_the_positions(tiny_deit):
    encoder = load_image_encoder(block(tiny_deit, image_size_px=48), seed=0)
    assert encoder.stem(torch.randn(1, 3, 48, 48)).shape == (1, 37, 24)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trainable_blocks": 5}, "only 4 blocks"),
        ({"trainable_blocks": -1}, "trainable_blocks is -1"),
        ({"trainable_blocks": True}, "trainable_blocks is True"),
        ({"image_size_px": 4}, "cannot be built|image_size_px"),
        ({"trainable_block": 2}, "did you mean 'trainable_blocks'"),
        ({"modality": "text", "library": "transformers"}, "modality 'text' is used for images"),
        ({"library": "open_clipp"}, "image with timm"),
        ({"weights": "random"}, "Random weights need a folder"),
        ({"config": "somewhere"}, "leave `config` out"),
        ({"weights": ""}, "`weights` is missing"),
    ],
)
def test_a_wrong_config_is_refused_with_a_word_on_what_to_do(tiny_deit, change, words):
    with pytest.raises(InputError, match=words):
        load_image_encoder({**block(tiny_deit), **change}, seed=0)


def test_wrong_files_are_refused(tiny_deit, tmp_path):
    config = json.loads((tiny_deit / "config.json").read_text())
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((tiny_deit / name).read_bytes())

    def refused(words: str, text: str) -> None:
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(InputError, match=words) as caught:
            load_image_encoder(block(tmp_path), seed=0)
        assert "\n" not in str(caught.value)

    refused("near are .*deit_tiny", json.dumps({**config, "architecture": "deit_tiny_patch16_22"}))
    refused("hub layout", "{}")
    refused("hub layout", "{broken")
    refused("cannot be built", json.dumps({**config, "model_args": {**config["model_args"], "depth": 5}}))
    refused("cannot be built", json.dumps({**config, "model_args": {**config["model_args"], "nonsense": 5}}))
    (tmp_path / "model.safetensors").write_bytes((tiny_deit / "model.safetensors").read_bytes()[:1000])
    refused("cannot be built", json.dumps(config))


def test_the_image_path_does_not_import_transformers(tiny_deit):
    code = f"""
import sys
import lile.features.image_encoder
assert "timm" not in sys.modules, "timm is imported before it is needed"
lile.features.image_encoder.load_image_encoder({block(tiny_deit)!r}, 0)
assert "transformers" not in sys.modules
import timm
assert not timm.is_model("mobilenetv1_075"), "registered by an import"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
