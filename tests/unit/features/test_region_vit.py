"""The ViT on regions: what trains, what does not, and that padding is never seen."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from lile.errors import InputError
from lile.features.region_vit import RegionVit, load_region_vit
from lile.features.store import GEOMETRY

FEATURES, HEADS = 10, 3


@pytest.fixture
def block(tiny_deit: Path) -> dict:
    return {"modality": "image", "library": "region_vit", "weights": str(tiny_deit), "config": None}


def load(block: dict, **keys) -> RegionVit:
    boxes = keys.get("boxes", True)
    torch.manual_seed(5)
    return load_region_vit({**block, "trainable_blocks": 2, **keys}, 0, FEATURES + GEOMETRY * boxes)[0]


def regions(lengths: tuple[int, ...] = (4, 2, 6), width: int = FEATURES + GEOMETRY) -> tuple[Tensor, Tensor]:
    torch.manual_seed(6)
    keep = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.rand(len(lengths), max(lengths), width) * keep[..., None], keep


def layer_norm(tokens: Tensor, norm: nn.LayerNorm) -> Tensor:
    spread = tokens.var(-1, correction=0, keepdim=True) + norm.eps
    return (tokens - tokens.mean(-1, keepdim=True)) / spread.sqrt() * norm.weight + norm.bias


def twin(vit: RegionVit, tokens_RF: Tensor) -> Tensor:
    """One image's regions, without padding, head by head."""
    x = tokens_RF[:, :FEATURES] @ vit.projection.weight.T + vit.projection.bias
    x = x + tokens_RF[:, FEATURES:] @ vit.geometry.weight.T
    for block in [*vit.frozen.inner.blocks, *vit.trained.blocks]:
        y = layer_norm(x, block.norm1)
        queries, keys, values = (y @ block.attn.qkv.weight.T + block.attn.qkv.bias).chunk(3, dim=-1)
        heads = []
        for query, key, value in zip(*(part.chunk(HEADS, dim=-1) for part in (queries, keys, values)), strict=True):
            attention = (query @ key.T / key.shape[-1] ** 0.5).softmax(-1)
            heads.append(attention @ value)
        x = x + torch.cat(heads, -1) @ block.attn.proj.weight.T + block.attn.proj.bias
        hidden = layer_norm(x, block.norm2) @ block.mlp.fc1.weight.T + block.mlp.fc1.bias
        x = x + nn.functional.gelu(hidden) @ block.mlp.fc2.weight.T + block.mlp.fc2.bias
    return layer_norm(x, vit.norm)


def test_it_is_what_the_formulas_say_of_each_image_alone(block):
    vit = load(block)
    tokens, keep = regions()
    found = vit(tokens, keep)
    assert found.shape == (3, 6, 24)
    for place, length in enumerate(keep.sum(1)):
        torch.testing.assert_close(found[place, :length], twin(vit, tokens[place, :length]), atol=1e-5, rtol=1e-4)


def test_padding_is_never_seen(block):
    vit = load(block)
    tokens, keep = regions()
    found = vit(tokens, keep)
    changed = torch.where(keep[..., None], tokens, torch.full_like(tokens, 7.0))
    longer, more = nn.functional.pad(changed, (0, 0, 0, 5), value=3.0), nn.functional.pad(keep, (0, 5))
    torch.testing.assert_close(vit(longer, more)[:, :6][keep], found[keep], atol=1e-5, rtol=1e-4)


def test_the_gradient_reaches_the_projection_and_no_frozen_weight_moves(block):
    vit = load(block)
    tokens, keep = regions()
    before = copy.deepcopy(vit.state_dict())
    trained = [parameter for parameter in vit.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    vit(tokens, keep)[keep].square().mul(torch.rand(24)).sum().backward()
    assert all(parameter.grad is None for parameter in vit.frozen.parameters())
    optimizer.step()
    moved = {name for name, value in vit.state_dict().items() if not torch.equal(value, before[name])}
    assert {"projection.weight", "projection.bias", "geometry.weight", "norm.weight"} <= moved
    assert len(list(vit.frozen.parameters())) == 2 * 12
    assert not any(name.startswith("frozen.") for name in moved)
    assert {name.split(".")[2] for name in moved if name.startswith("trained.")} == {"0", "1"}


def test_the_gradient_of_the_projection_is_that_of_a_vit_trained_whole(block):
    """Frozen means without an update, not without a gradient through it."""
    tokens, keep = regions((4, 4, 4))
    grads = []
    for trainable in (2, 4):
        vit = load(block, trainable_blocks=trainable)
        vit(tokens, keep).square().mul(torch.linspace(0, 1, 24)).sum().backward()
        grads.append((vit.projection.weight.grad, vit.geometry.weight.grad, vit.norm.weight.grad))
    for some, whole in zip(*grads, strict=True):
        assert some.abs().max() > 1e-4
        torch.testing.assert_close(some, whole, atol=1e-5, rtol=1e-4)


def test_dropout_is_off_in_the_frozen_part_alone(block):
    def noisy(frozen: float, trained: float) -> bool:
        model = timm.create_model("vit_tiny_patch16_224", embed_dim=24, num_heads=3, depth=4, img_size=32, patch_size=8)
        vit = RegionVit(FEATURES, list(model.blocks), model.norm, 24, trainable_blocks=2, boxes=True).train()
        for part, rate in ((vit.frozen, frozen), (vit.trained, trained)):
            for module in part.modules():
                if isinstance(module, nn.Dropout):
                    module.p = rate
        tokens, keep = regions()
        return not torch.equal(vit(tokens, keep)[keep], vit(tokens, keep)[keep])

    assert not noisy(0.5, 0.0)
    assert noisy(0.0, 0.5)
    vit = load(block)
    assert vit.training
    assert not vit.train().frozen.inner.training


def test_the_blocks_and_the_norm_are_those_of_the_weights(block, tiny_deit):
    vit = load(block)
    published = timm.create_model(f"local-dir:{tiny_deit}", pretrained=True)
    own = [*vit.frozen.inner.blocks, *vit.trained.blocks]
    assert [len(vit.frozen.inner.blocks), len(vit.trained.blocks)] == [2, 2]
    for one, other in zip(own, published.blocks, strict=True):
        for name, value in other.state_dict().items():
            assert torch.equal(one.state_dict()[name], value)
    assert torch.equal(vit.norm.weight, published.norm.weight)


def test_new_weights_follow_the_callers_generator_and_the_rest_does_not(block):
    first = load(block)
    torch.manual_seed(6)
    second = load_region_vit({**block, "trainable_blocks": 2}, 0, FEATURES + GEOMETRY)[0]
    assert not torch.equal(first.projection.weight, second.projection.weight)
    assert torch.equal(first.projection.weight, load(block).projection.weight)
    assert torch.equal(first.trained.blocks[0].attn.qkv.weight, second.trained.blocks[0].attn.qkv.weight)


def test_without_boxes_all_columns_are_features(block):
    vit = load(block, boxes=False)
    assert vit.geometry is None
    tokens, keep = regions(width=FEATURES)
    assert vit(tokens, keep).shape == (3, 6, 24)
    assert vit.projection.in_features == FEATURES


def test_its_weights_come_back_from_a_state_dict(block):
    vit = load(block)
    torch.manual_seed(9)
    other = load_region_vit({**block, "trainable_blocks": 2}, 0, FEATURES + GEOMETRY)[0]
    tokens, keep = regions()
    assert not torch.equal(other(tokens, keep)[keep], vit(tokens, keep)[keep])
    other.load_state_dict(vit.state_dict())
    assert torch.equal(other(tokens, keep)[keep], vit(tokens, keep)[keep])


def test_it_says_what_it_is(block):
    _, width, about = load_region_vit({**block, "trainable_blocks": 1}, 0, FEATURES + GEOMETRY)
    assert width == 24
    assert json.loads(json.dumps(about)) == about
    assert about["origin"] == "pretrained"
    named = {key: about[key] for key in ("library", "trainable_blocks", "depth", "features", "boxes")}
    assert named == {"library": "region_vit", "trainable_blocks": 1, "depth": 3, "features": FEATURES, "boxes": True}


def test_random_weights_are_marked(block, tiny_deit):
    random = {**block, "weights": "random", "config": str(tiny_deit), "trainable_blocks": 2}
    assert load_region_vit(random, 0, FEATURES + GEOMETRY)[2]["origin"] == "random"


def test_more_trained_blocks_than_there_are_is_refused(block):
    with pytest.raises(InputError, match="trainable_blocks is 6, but it has only 4 blocks"):
        load_region_vit(block, 0, FEATURES + GEOMETRY)


def test_a_cnn_is_refused(block, tmp_path, save_timm):
    model = timm.create_model("resnet18", num_classes=5)
    save_timm(model, "resnet18", tmp_path / "cnn", {}, first_conv="conv1", classifier="fc")
    with pytest.raises(InputError, match="a ResNet cannot read regions"):
        load_region_vit({**block, "weights": str(tmp_path / "cnn"), "trainable_blocks": 0}, 0, 20)


def test_a_vit_that_normalises_after_pooling_is_refused(block, tmp_path, save_timm):
    shape = {"embed_dim": 24, "depth": 4, "num_heads": 3, "img_size": 32, "patch_size": 8, "num_classes": 5}
    pooled = {**shape, "global_pool": "avg", "fc_norm": True}
    save_timm(timm.create_model("vit_tiny_patch16_224", **pooled), "vit_tiny_patch16_224", tmp_path / "vit", pooled)
    with pytest.raises(InputError, match="normalises after pooling"):
        load_region_vit({**block, "weights": str(tmp_path / "vit"), "trainable_blocks": 1}, 0, 20)


def test_blocks_that_look_at_what_is_left_out_are_refused(block, monkeypatch):
    attention = timm.layers.Attention
    whole = attention.forward
    monkeypatch.setattr(attention, "forward", lambda self, x, attn_mask=None, **more: whole(self, x, **more))
    with pytest.raises(InputError, match="look at regions that are left out"):
        load_region_vit({**block, "trainable_blocks": 1}, 0, FEATURES + GEOMETRY)
