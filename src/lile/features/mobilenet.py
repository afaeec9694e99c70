"""MobileNet v1 of width 0.75 as Keras publishes it: a timm architecture, and the conversion of its weights.

Source: Howard et al. 2017 (arXiv 1704.04861). What differs from timm's own ``mobilenetv1_100``: width 0.75, SAME
padding as TensorFlow has it (one more pixel at the right and the bottom) and a batch-norm epsilon of 1e-3. Input is
``x / 127.5 - 1``.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lile.errors import InputError
from lile.files import replacing, write_json

if TYPE_CHECKING:
    from torch import nn

ARCHITECTURE = "mobilenetv1_075"
_WIDTH = 0.75
# Depthwise-separable blocks per stage, as timm's builder writes them: repeats, stride of the first, full channels.
_STAGES = (["dsa_r1_k3_s1_c64"], ["dsa_r2_k3_s2_c128"], ["dsa_r2_k3_s2_c256"], ["dsa_r6_k3_s2_c512"],
           ["dsa_r2_k3_s2_c1024"])  # fmt: skip
_BLOCKS_PER_STAGE = (1, 2, 2, 6, 2)
_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def mobilenetv1_075(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Build the network with timm's EfficientNet builder; the signature is that of timm's entry points."""
    from timm.models import build_model_with_cfg
    from timm.models._efficientnet_builder import decode_arch_def, round_channels
    from timm.models.efficientnet import EfficientNet
    from torch import nn

    return build_model_with_cfg(
        EfficientNet,
        ARCHITECTURE,
        pretrained,
        block_args=decode_arch_def([list(stage) for stage in _STAGES]),
        num_features=0,
        stem_size=32,
        round_chs_fn=partial(round_channels, multiplier=_WIDTH),
        norm_layer=partial(nn.BatchNorm2d, eps=1e-3),
        act_layer=nn.ReLU6,
        pad_type="same",
        **kwargs,
    )


def register() -> None:
    """Make the architecture known to ``timm.create_model``; does nothing where it is known."""
    import timm

    if not timm.is_model(ARCHITECTURE):
        timm.models.register_model(mobilenetv1_075)


def hub_config() -> dict[str, Any]:
    """Return the ``config.json`` of the converted weights, in timm's hub layout."""
    return {
        "architecture": ARCHITECTURE,
        "num_classes": 1000,
        "num_features": 768,
        "pretrained_cfg": {
            "input_size": [3, 224, 224],
            "fixed_input_size": False,
            "interpolation": "bilinear",
            "crop_pct": 0.875,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "num_classes": 1000,
            "pool_size": [7, 7],
            "first_conv": "conv_stem",
            "classifier": "classifier",
            "license": "apache-2.0",
        },
    }


def convert(source: Path, folder: Path) -> None:
    """Write the published arrays as a folder that timm loads.

    Args:
        source: the ``.npz`` of Keras' arrays, ``<layer>/<kind>``.
        folder: gets ``model.safetensors`` and ``config.json``.

    Raises:
        InputError: ``source`` is not that file, or its arrays do not fit the network.
        OSError: the folder cannot be written.
    """
    import timm
    import torch
    from safetensors.torch import save

    state = {name: torch.from_numpy(array) for name, array in renamed(_arrays(source)).items()}
    register()
    model = timm.create_model(ARCHITECTURE, pretrained_cfg=hub_config()["pretrained_cfg"])
    for name in model.state_dict():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{source}: no weights of MobileNet v1 at width {_WIDTH}: {error}") from error
    with replacing(folder / "model.safetensors") as part:
        part.write_bytes(save(model.state_dict(), metadata={"format": "pt"}))
    write_json(folder / "config.json", hub_config())


def renamed(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays under timm's names and in torch's layout.

    Args:
        arrays: Keras' arrays; kernels are [height, width, in, out], depthwise ones [height, width, channels, 1].

    Raises:
        InputError: a name is not of this network.
    """
    return {_name(key): np.ascontiguousarray(_torch_layout(key, array)) for key, array in arrays.items()}


def _arrays(source: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(source, allow_pickle=False) as found:
            return {key: found[key] for key in found.files}
    except (OSError, ValueError) as error:
        raise InputError(f"{source}: not readable as an .npz of arrays ({error}). Check `convert_from`") from error


def _torch_layout(key: str, array: np.ndarray) -> np.ndarray:
    if key == "conv_preds/kernel":
        return array[0, 0].T  # a 1x1 convolution after pooling is a linear layer
    if key.endswith("depthwise_kernel"):
        return array.transpose(2, 3, 0, 1)
    return array.transpose(3, 2, 0, 1) if key.endswith("kernel") else array


def _name(key: str) -> str:
    """Translate ``conv_dw_3_bn/gamma`` into ``blocks.1.1.bn1.weight``."""
    fixed = {"conv1/kernel": "conv_stem.weight", "conv_preds/kernel": "classifier.weight",
             "conv_preds/bias": "classifier.bias"}  # fmt: skip
    if key in fixed:
        return fixed[key]
    stem = re.fullmatch(r"conv1_bn/(\w+)", key)
    if stem and stem[1] in _NORM:
        return f"bn1.{_NORM[stem[1]]}"
    found = re.fullmatch(r"conv_(dw|pw)_(\d+)(_bn)?/(\w+)", key)
    if not found or (found[3] and found[4] not in _NORM):
        raise InputError(f"array {key!r} does not belong to MobileNet v1")
    kind, number, norm, what = found.groups()
    block = _block(int(number), key)
    if not norm:
        return f"{block}.conv_{kind}.weight"
    return f"{block}.bn{1 if kind == 'dw' else 2}.{_NORM[what]}"


def _block(number: int, key: str) -> str:
    """The place of Keras' block ``number`` (from 1) among timm's stages."""
    first = 1
    for stage, count in enumerate(_BLOCKS_PER_STAGE):
        if first <= number < first + count:
            return f"blocks.{stage}.{number - first}"
        first += count
    raise InputError(f"array {key!r} does not belong to MobileNet v1")
