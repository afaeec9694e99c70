"""The converted MobileNet against a forward pass written from the paper, on the published arrays and real photos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image

from lile.errors import InputError
from lile.features import mobilenet
from lile.features.image_encoder import load_image_encoder

STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]


def same_conv(x: torch.Tensor, kernel: torch.Tensor, stride: int, groups: int = 1) -> torch.Tensor:
    """Convolution with TensorFlow's SAME padding: ceil(size / stride) cells come out, spare padding comes last."""
    padding = []
    for size, width in ((x.shape[3], kernel.shape[3]), (x.shape[2], kernel.shape[2])):
        total = max((-(-size // stride) - 1) * stride + width - size, 0)
        padding += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, padding), kernel, stride=stride, groups=groups)


def slow_mobilenet(arrays: dict[str, np.ndarray], x: torch.Tensor) -> torch.Tensor:
    """The last feature map [B, 768, 7, 7] of pixels x [B, 3, 224, 224] in -1..1, layer by layer under Keras' names."""

    def get(name: str) -> torch.Tensor:
        return torch.from_numpy(arrays[name]).double()

    def norm_relu6(x: torch.Tensor, layer: str) -> torch.Tensor:
        mean, variance, gamma, beta = (
            get(f"{layer}/{what}")[:, None, None] for what in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return ((x - mean) / (variance + 1e-3).sqrt() * gamma + beta).clamp(0, 6)

    x = norm_relu6(same_conv(x.double(), get("conv1/kernel").permute(3, 2, 0, 1), 2), "conv1_bn")
    for number, stride in enumerate(STRIDES, start=1):
        kernel = get(f"conv_dw_{number}/depthwise_kernel").permute(2, 3, 0, 1)
        x = norm_relu6(same_conv(x, kernel, stride, groups=x.shape[1]), f"conv_dw_{number}_bn")
        kernel = get(f"conv_pw_{number}/kernel").permute(3, 2, 0, 1)
        x = norm_relu6(same_conv(x, kernel, 1), f"conv_pw_{number}_bn")
    return x


@pytest.fixture(scope="module")
def source(test_data) -> Path:
    return test_data / "weights" / "mobilenet_v1_0.75_224.npz"


@pytest.fixture(scope="module")
def converted(source, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("encoders") / "mobilenet"
    mobilenet.convert(source, folder)
    return folder


@pytest.fixture(scope="module")
def photos(test_data) -> list[Image.Image]:
    names = [entry["filename"] for entry in json.loads((test_data / "flickr8k" / "captions.json").read_text())[:3]]
    return [Image.open(next((test_data / "flickr8k").rglob(name))).convert("RGB") for name in names]


@pytest.mark.data
def test_converted_weights_give_the_papers_features(source, converted, photos):
    with np.load(source) as found:
        arrays = dict(found)
    encoder = load_image_encoder({"weights": str(converted), "trainable_blocks": 0, "image_size_px": 224}, seed=0)
    squares = np.stack([np.asarray(photo.resize((224, 224), Image.Resampling.BILINEAR)) for photo in photos])
    pixels = torch.from_numpy(squares.astype(np.float64) / 127.5 - 1).permute(0, 3, 1, 2)
    expected = slow_mobilenet(arrays, pixels)
    assert expected.shape == (3, 768, 7, 7)
    tokens = encoder.stem(torch.stack([encoder.pixels(photo) for photo in photos]))
    assert tokens.shape == (3, 49, 768)
    torch.testing.assert_close(tokens.double(), expected.flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-4)
    logits = np.einsum("bchw,co->bo", expected.numpy() / 49, arrays["conv_preds/kernel"][0, 0])
    model = timm.create_model(f"local-dir:{converted}", pretrained=True).eval()
    with torch.no_grad():
        classes = model(pixels.float())
    np.testing.assert_allclose(classes.numpy(), logits + arrays["conv_preds/bias"], rtol=1e-3, atol=1e-3)


@pytest.mark.data
def test_the_photo_of_two_dogs_is_seen_as_dogs(converted, test_data):
    entries = json.loads((test_data / "flickr8k" / "captions.json").read_text())
    dogs = [entry for entry in entries if all("dog" in caption.lower() for caption in entry["captions"])][:20]
    encoder = load_image_encoder({"weights": str(converted), "trainable_blocks": 0}, seed=0)
    model = timm.create_model(f"local-dir:{converted}", pretrained=True).eval()
    paths = [next((test_data / "flickr8k").rglob(entry["filename"])) for entry in dogs]
    with torch.no_grad():
        best = model(torch.stack([encoder.pixels(Image.open(path)) for path in paths])).argmax(1)
    assert ((best >= 151) & (best <= 275)).float().mean() > 0.6  # ImageNet's dogs, and their wild relatives


@pytest.mark.data
def test_the_script(source, tmp_path, run_script):
    run_script("convert_weights", "--source", source, "--out", tmp_path / "mobilenet")
    assert sorted(path.name for path in (tmp_path / "mobilenet").iterdir()) == ["config.json", "model.safetensors"]
    assert load_image_encoder({"weights": str(tmp_path / "mobilenet"), "trainable_blocks": 0}, 0).width == 768


def test_other_files_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", **{"conv_dw_14/depthwise_kernel": np.zeros((3, 3, 8, 1))})
    with pytest.raises(InputError, match="conv_dw_14"):
        mobilenet.convert(tmp_path / "other.npz", tmp_path / "out")
    np.savez(tmp_path / "few.npz", **{"conv1/kernel": np.zeros((3, 3, 3, 24), dtype=np.float32)})
    with pytest.raises(InputError, match="no weights of MobileNet"):
        mobilenet.convert(tmp_path / "few.npz", tmp_path / "out")
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(InputError, match="not readable"):
        mobilenet.convert(tmp_path / "text.npz", tmp_path / "out")
    with pytest.raises(InputError, match="not readable"):
        mobilenet.convert(tmp_path / "absent.npz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_registering_twice_is_quiet(recwarn):
    mobilenet.register()
    mobilenet.register()
    assert timm.is_model(mobilenet.ARCHITECTURE)
    assert not [warning for warning in recwarn if "mobilenet" in str(warning.message)]
