"""Image encoders of today: every family is cut rightly or refused, and checkpoints load as their model cards say.

The models are tiny, but saved in the hub's layout with the settings of the published config.json.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from lile.errors import InputError
from lile.features.encoder_config import EncoderConfig
from lile.features.image_encoder import load_image_encoder
from lile.features.timm_model import unweighted

SMALL = {"embed_dim": 24, "depth": 3, "num_heads": 3, "img_size": 32, "patch_size": 8}


def block(weights: Path | str, **values) -> dict:
    return {"weights": str(weights), "modality": "image", "image_size_px": 32, **values}


def whole(encoder, pixels: torch.Tensor) -> torch.Tensor:
    tokens = encoder.stem(pixels)
    return encoder.top.eval()(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool))


def shaken(model: nn.Module) -> nn.Module:
    """Give every parameter a say: norms and biases start at 1 and 0, and layer scales next to 0."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture
def saved(save_timm, tmp_path):
    """Saves a tiny model with the ``model_args`` that its published config.json has; returns model and folder."""

    def save(architecture: str, published: dict, **in_code) -> tuple[nn.Module, Path]:
        model = shaken(timm.create_model(architecture, num_classes=0, **{**published, **in_code}))
        folder = tmp_path / architecture
        save_timm(model, architecture, folder, {**published, "num_classes": 0}, num_classes=0)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "num_classes": 0}))
        return model, folder

    return save


@pytest.mark.parametrize(
    ("architecture", "arguments", "prefix"),
    [
        ("vit_base_patch16_224", {"dynamic_img_size": True}, 1),
        ("vit_base_patch16_siglip_224", {}, 0),
        ("vit_small_patch14_dinov2", {}, 1),
        ("vit_small_patch14_reg4_dinov2", {}, 5),
        ("vit_small_patch16_dinov3", {}, 5),
        ("deit3_small_patch16_224", {}, 1),
        ("deit_tiny_distilled_patch16_224", {}, 2),
        ("beit_base_patch16_224", {}, 1),
        ("beitv2_base_patch16_224", {"use_shared_rel_pos_bias": True, "use_rel_pos_bias": False}, 1),
        ("eva02_tiny_patch14_224", {}, 1),
        ("vit_small_patch16_rope_mixed_224", {}, 1),
    ],
)
def test_every_family_of_vits_is_cut_rightly_with_all_its_tokens(saved, architecture, arguments, prefix):
    model, folder = saved(architecture, {**SMALL, **arguments})
    encoder = load_image_encoder(block(folder, trainable_blocks=2), seed=0)
    pixels = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(whole(encoder, pixels), model.forward_features(pixels))
    assert encoder.stem(pixels).shape == (3, prefix + 16, 24)
    (whole(encoder, pixels) * torch.randn(3, prefix + 16, 24)).sum().backward()
    assert [name for name, p in encoder.top.named_parameters() if p.grad is None] == []
    assert encoder.about()["depth"] == 1


def test_what_the_layers_are_given_goes_with_them_to_another_precision(saved):
    _, folder = saved("eva02_tiny_patch14_224", SMALL)
    encoder = load_image_encoder(block(folder, trainable_blocks=2), seed=0)
    pixels = torch.randn(2, 3, 32, 32)
    tokens, expected = encoder.stem(pixels), whole(encoder, pixels)
    found = encoder.top.double()(tokens.double(), torch.ones(tokens.shape[:2], dtype=torch.bool))
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ["cait_xxs24_224", "xcit_nano_12_p16_224"])
def test_what_has_more_than_blocks_and_a_norm_is_read_whole_but_never_cut_wrongly(saved, architecture):
    arguments = {"embed_dim": 24, "depth": 3, "num_heads": 3, "img_size": 32}
    model, folder = saved(architecture, arguments)
    with pytest.raises(InputError, match=r"cannot be cut before its last 2 blocks\. Set trainable_blocks: 0"):
        load_image_encoder(block(folder, trainable_blocks=2), seed=0)
    pixels = torch.randn(2, 3, 32, 32)
    encoder = load_image_encoder(block(folder, trainable_blocks=0), seed=0)
    torch.testing.assert_close(encoder.stem(pixels), model.forward_features(pixels))


SWIGLU = {"mlp_layer": timm.layers.SwiGLUPacked, "act_layer": nn.SiLU}
IN_CONFIG = {"mlp_layer": "swiglu_packed", "act_layer": "silu"}
PATHOLOGY = [
    # name, architecture, what config.json has, what the model card gives in code, the same in our config, prefix tokens
    ("uni", "vit_large_patch16_224", {}, {"init_values": 1e-5, "dynamic_img_size": True},
     {"init_values": 1.0e-5, "dynamic_img_size": True}, 1),
    ("uni2_h", "vit_giant_patch14_224", {"init_values": 1e-5, "mlp_ratio": 5.33334, "reg_tokens": 8,
     "no_embed_class": True, "dynamic_img_size": True}, SWIGLU, IN_CONFIG, 9),
    ("virchow", "vit_huge_patch14_224", {"init_values": 1e-5, "mlp_ratio": 5.3375, "global_pool": "",
     "dynamic_img_size": True}, SWIGLU, IN_CONFIG, 1),
    ("virchow2", "vit_huge_patch14_224", {"init_values": 1e-5, "mlp_ratio": 5.3375, "global_pool": "",
     "dynamic_img_size": True, "reg_tokens": 4}, SWIGLU, IN_CONFIG, 5),
    ("gigapath", "vit_giant_patch14_dinov2", {"init_values": 1e-5, "mlp_ratio": 5.33334, "in_chans": 3}, {}, None, 1),
    ("h_optimus", "vit_giant_patch14_reg4_dinov2", {}, {"init_values": 1e-5, "dynamic_img_size": False},
     {"init_values": 1.0e-5, "dynamic_img_size": False}, 5),
]  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "published", "in_code", "model_args", "prefix"),
    [case[1:] for case in PATHOLOGY],
    ids=[case[0] for case in PATHOLOGY],
)
def test_pathology_checkpoints_load_as_their_cards_say(saved, architecture, published, in_code, model_args, prefix):
    model, folder = saved(architecture, {**SMALL, **published}, **in_code)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")  # as most of them are published
    (folder / "model.safetensors").unlink()
    asked = {} if model_args is None else {"model_args": model_args}
    encoder = load_image_encoder(block(folder, trainable_blocks=2, **asked), seed=0)
    pixels = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(whole(encoder, pixels), model.forward_features(pixels))
    assert encoder.stem(pixels).shape[1] == prefix + 16
    assert encoder.about().get("model_args") == model_args
    if "mlp_layer" in (model_args or {}):
        with pytest.raises(InputError, match="cannot be built"):  # another layer's weights do not fit: never in silence
            load_image_encoder(block(folder, trainable_blocks=2), seed=0)


def test_a_vision_tower_is_taken_out_of_a_larger_checkpoint(save_timm, tmp_path):
    """CONCH is a CoCa: its tower is a ViT without classifier under ``visual.trunk.``, beside much else."""
    model = shaken(timm.create_model("vit_base_patch16_224", num_classes=0, dynamic_img_size=True, **SMALL))
    save_timm(model, "vit_base_patch16_224", tmp_path, {**SMALL, "num_classes": 0, "dynamic_img_size": True})
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_classes": 0}))
    (tmp_path / "model.safetensors").unlink()
    tower = {f"visual.trunk.{name}": values for name, values in model.state_dict().items()}
    others = {"visual.attn_pool_contrast.query": torch.zeros(1, 24), "text.cls_emb": torch.zeros(24)}
    torch.save({**tower, **others}, tmp_path / "pytorch_model.bin")
    keys = {"weights_keys": {"prefix": "visual.trunk."}}
    encoder = load_image_encoder(block(tmp_path, trainable_blocks=2, **keys), seed=0)
    pixels = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(whole(encoder, pixels), model.forward_features(pixels))
    assert encoder.about()["weights_keys"] == {"prefix": "visual.trunk."}
    with pytest.raises(InputError, match=r"no tensor begins with 'visual\.trunc\.'"):
        load_image_encoder(block(tmp_path, weights_keys={"prefix": "visual.trunc."}), seed=0)
    del tower["visual.trunk.blocks.1.mlp.fc1.weight"]
    torch.save({**tower, **others}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"cannot be built.*blocks\.1\.mlp\.fc1\.weight"):
        load_image_encoder(block(tmp_path, trainable_blocks=2, **keys), seed=0)


def test_kimianets_densenet_is_read_under_the_names_it_was_saved_with(save_timm, tmp_path):
    """Its checkpoint is a DenseNet's features in a Sequential, trained in parallel, and a classifier of its own."""
    arguments = {"growth_rate": 4, "block_config": [1, 1], "num_classes": 0}
    model = shaken(timm.create_model("densenet121", **arguments))
    save_timm(model, "densenet121", tmp_path, arguments, num_classes=0)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_classes": 0}))
    (tmp_path / "model.safetensors").unlink()
    state = {name.replace("features.", "module.model.0."): values for name, values in model.state_dict().items()}
    torch.save({**state, "module.fc_4.weight": torch.zeros(30, 8)}, tmp_path / "pytorch_model.bin")
    keys = {"prefix": "module.model.0.", "becomes": "features."}
    encoder = load_image_encoder(block(tmp_path, trainable_blocks=0, image_size_px=64, weights_keys=keys), seed=0)
    pixels = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(encoder.stem(pixels), model.forward_features(pixels).flatten(2).transpose(1, 2))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_args": {"mlp": "swiglu"}}, "model_args is .* knows init_values"),
        ({"model_args": {"mlp_layer": "swiglu_pack"}}, "one of mlp, glu, swiglu, swiglu_packed"),
        ({"weights_keys": {"prefixes": "a"}}, "knows prefix, becomes"),
        ({"model_args": {"depth": 3}, "library": "transformers"}, "it is for timm"),
    ],
)
def test_wrong_arguments_are_refused(tiny_deit, change, words):
    with pytest.raises(InputError, match=words):
        load_image_encoder(block(tiny_deit, **change), seed=0)


@pytest.mark.parametrize(("name", "size_px", "shape"), [("conch", 448, (785, 768)), ("kimianet", 224, (49, 1024))])
def test_the_shipped_configs_are_those_architectures(project_root, name, size_px, shape):
    folder = project_root / "config" / "encoders" / name
    config = EncoderConfig.from_dict(block("random", config=str(folder), image_size_px=size_px), "image")
    model = unweighted(config, folder)
    features = model.forward_features(torch.empty(1, 3, size_px, size_px, device="meta"))
    tokens = features if features.ndim == 3 else features.flatten(2).transpose(1, 2)
    assert tokens.shape[1:] == shape
