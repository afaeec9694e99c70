"""Training on stored tokens is end-to-end training with the same layers frozen (PAPER.md section 2).

A tiny DeiT and a tiny RoBERTa are run whole, by their own libraries' forward passes with the lower layers frozen; the
same weights are cut, the frozen part's tokens go through a store on disk, and the tops train on what comes back.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lile.features.image_encoder import load_image_encoder
from lile.features.shard_writer import write_store
from lile.features.store import TokenStore
from lile.features.text_encoder import load_text_encoder
from lile.models.config import ModelConfig
from lile.models.losses import triplet_loss
from lile.models.model import RetrievalModel, SideParts
from lile.models.tokens import Tokens

PAIRS = 4
TRAINED = 1
OTHERS = ~torch.eye(PAIRS, dtype=torch.bool)
CONFIG = ModelConfig.from_dict({"preset": "scaled", "maps": 2, "width": 8, "matching": {"reduce": "mean"}})


@pytest.fixture(scope="module")
def deit_folder(tmp_path_factory):
    """A tiny distilled-free DeiT in timm's own folder layout."""
    import json

    import timm
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("deit")
    args = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 0}
    torch.manual_seed(0)
    model = timm.create_model("deit_tiny_patch16_224", pretrained=False, **args)
    save_file(model.state_dict(), folder / "model.safetensors")
    pretrained = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    config = {"architecture": "deit_tiny_patch16_224", "model_args": args, "pretrained_cfg": pretrained}
    (folder / "config.json").write_text(json.dumps({**config, "num_classes": 0}))
    return folder


@pytest.fixture(scope="module")
def roberta_folder(tmp_path_factory, project_root):
    """A tiny RoBERTa without dropout in transformers' own folder layout, with the demo's tokenizer."""
    import shutil

    from transformers import RobertaConfig, RobertaModel

    folder = tmp_path_factory.mktemp("roberta")
    for file in (project_root / "config/encoders/tiny_roberta").glob("token*"):
        shutil.copy(file, folder)
    config = RobertaConfig.from_pretrained(project_root / "config/encoders/tiny_roberta")
    config.num_hidden_layers, config.hidden_dropout_prob, config.attention_probs_dropout_prob = 3, 0.0, 0.0
    torch.manual_seed(1)
    RobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def image_block(folder, trained=TRAINED):
    return {
        "modality": "image", "library": "timm", "weights": str(folder), "config": None, "convert_from": None,
        "trainable_blocks": trained, "image_size_px": 32, "batch_size": 4,
    }  # fmt: skip


def text_block(folder, trained=TRAINED):
    return {
        "modality": "text", "library": "transformers", "weights": str(folder), "config": None, "convert_from": None,
        "trainable_blocks": trained, "max_tokens": 32, "batch_size": 4,
    }  # fmt: skip


def with_lile(image, text):
    torch.manual_seed(2)
    return RetrievalModel(CONFIG, SideParts(image.top, image.width), SideParts(text.top, text.width))


def end_to_end(deit_folder, roberta_folder, pixels, ids, keep):
    """Loss and gradients of the whole networks, lower layers frozen, run by their libraries' own forward passes."""
    import timm
    from transformers import RobertaModel

    vit = timm.create_model(f"local-dir:{deit_folder}", pretrained=True, num_classes=0)
    roberta = RobertaModel.from_pretrained(roberta_folder, add_pooling_layer=False)
    for parameter in (*vit.parameters(), *roberta.parameters()):
        parameter.requires_grad_(False)
    trained = [*vit.blocks[-TRAINED:], vit.norm, *roberta.encoder.layer[-TRAINED:]]
    for module in trained:
        module.requires_grad_(True)
    image, text = load_image_encoder(image_block(deit_folder), 0), load_text_encoder(text_block(roberta_folder), 0)
    head = with_lile(image, text)
    image_tokens = vit.forward_features(pixels)
    text_tokens = roberta(input_ids=ids, attention_mask=keep.long()).last_hidden_state
    all_kept = torch.ones(image_tokens.shape[:2], dtype=torch.bool)
    images = head.image.pool(Tokens(image_tokens, image_tokens, all_kept))
    texts = head.text.pool(Tokens(text_tokens, text_tokens, keep))
    loss = triplet_loss(head.scores(images, texts), OTHERS, 0.2)
    loss.backward()
    top = [p.grad for module in trained for p in module.parameters()]
    rest = [p.grad for part in (head.image.pool, head.text.pool, head.matcher) for p in part.parameters()]
    return loss.detach(), [*top, *rest]


def on_stored_tokens(image, text, images, texts):
    """The same from stored tokens [B, L, H] with keep masks."""
    model = with_lile(image, text)
    scores, _ = model(*images, *texts)
    loss = triplet_loss(scores, OTHERS, 0.2)
    loss.backward()
    parts = (model.image.top, model.text.top, model.image.pool, model.text.pool, model.matcher)
    return loss.item(), [p.grad for part in parts for p in part.parameters()]


def through_a_store(path, tokens, keep):
    items = ((str(n), tokens[n, keep[n]].numpy()) for n in range(PAIRS))
    write_store(path, items, {"made": "by this test"})
    with TokenStore([path]) as store:
        stored, kept = store.read(np.arange(PAIRS))
    return torch.from_numpy(stored).float(), torch.from_numpy(kept)


def test_same_loss_and_gradients(deit_folder, roberta_folder, tmp_path):
    image, text = load_image_encoder(image_block(deit_folder), 0), load_text_encoder(text_block(roberta_folder), 0)
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randn(PAIRS, 3, 32, 32, generator=generator)
    ids, keep, _ = text.tokenize(
        ["glands.", "a sheet of tumour cells with necrosis", "stroma", "dense lymphocytes x200"]
    )
    loss, gradients = end_to_end(deit_folder, roberta_folder, pixels, ids, keep)
    with torch.no_grad():
        image_tokens, text_tokens = image.stem(pixels), text.stem(ids, keep)
    everything = torch.ones(image_tokens.shape[:2], dtype=torch.bool)

    exact_loss, exact = on_stored_tokens(image, text, (image_tokens, everything), (text_tokens, keep))
    assert loss > 0
    assert exact_loss == pytest.approx(loss.item(), abs=1e-6)
    assert len(exact) == len(gradients)
    for mine, whole in zip(exact, gradients, strict=True):
        torch.testing.assert_close(mine, whole, rtol=1e-4, atol=1e-6)

    # On disk tokens are float16: what is lost is their rounding, a thousandth, and nothing else.
    stored = [
        through_a_store(tmp_path / "i.h5", image_tokens, everything),
        through_a_store(tmp_path / "t.h5", text_tokens, keep),
    ]
    image, text = load_image_encoder(image_block(deit_folder), 0), load_text_encoder(text_block(roberta_folder), 0)
    rounded_loss, rounded = on_stored_tokens(image, text, *stored)
    assert rounded_loss == pytest.approx(loss.item(), abs=2e-3)
    whole, mine = (torch.cat([g.flatten() for g in parts]) for parts in (gradients, rounded))
    assert torch.nn.functional.cosine_similarity(whole, mine, dim=0) > 0.999
