"""Weights in the layouts they are published in fill the model whole, or are refused with the names that do not fit."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from tiny_bert import write_bert_config
from transformers import BertConfig, BertModel

from lile.cross.config import CrossConfig
from lile.cross.weights import load_cross_encoder
from lile.errors import InputError

WIDTH = 10  # stands for OSCAR's 2054


def cross_config(**more) -> CrossConfig:
    return CrossConfig.from_dict({"shortlist": {"model": "lile"}, "max_words": 12, **more})


def bert_of(folder) -> BertModel:
    torch.manual_seed(5)
    return BertModel(BertConfig.from_dict(json.loads((folder / "config.json").read_text())))


def oscar_tensors(folder, width=WIDTH) -> dict[str, torch.Tensor]:
    """What a fine-tuned BertImgModel saves: BERT, its image embedding and classifier, and a head of pretraining."""
    tensors = {f"bert.{name}": value for name, value in bert_of(folder).state_dict().items()}
    tensors["bert.embeddings.position_ids"] = torch.arange(32)[None]
    tensors |= {"bert.img_embedding.weight": torch.randn(12, width), "bert.img_embedding.bias": torch.randn(12)}
    tensors |= {"classifier.weight": torch.randn(2, 12), "classifier.bias": torch.randn(2)}
    return tensors | {"cls.predictions.bias": torch.randn(34)}


@pytest.fixture
def oscar(tmp_path):
    """A folder as OSCAR publishes it: no model_type, vocab.txt, a pickled state dict."""
    folder = write_bert_config(tmp_path / "oscar", model_type=None, img_feature_dim=WIDTH, img_feature_type="frcnn")
    torch.save(oscar_tensors(folder), folder / "pytorch_model.bin")
    return folder


def saved(folder, tensors) -> None:
    torch.save(tensors, folder / "pytorch_model.bin")


def test_oscars_layout_fills_every_part(oscar):
    published = torch.load(oscar / "pytorch_model.bin")
    model, tokenizer, about = load_cross_encoder(cross_config(weights=str(oscar)), WIDTH, seed=0)
    assert about["fresh"] == []
    assert about["origin"] == "pretrained"
    ours = model.state_dict()
    assert torch.equal(ours["projection.weight"], published["bert.img_embedding.weight"])
    assert torch.equal(ours["classifier.bias"], published["classifier.bias"])
    deep = "bert.encoder.layer.1.output.dense.weight"
    assert torch.equal(ours[deep], published[deep])
    assert len(ours) == len([name for name in published if not name.startswith("cls.")]) - 1  # position_ids
    assert tokenizer("Gland DENSE").input_ids == [2, 6, 7, 3]


def test_weights_that_were_pretrained_only_get_a_fresh_classifier(oscar):
    saved(oscar, {k: v for k, v in oscar_tensors(oscar).items() if not k.startswith("classifier")})
    assert load_cross_encoder(cross_config(weights=str(oscar)), WIDTH, seed=0)[2]["fresh"] == ["classifier"]


def test_a_layer_norm_of_regions_is_asked_for_by_the_folder_or_the_row(oscar):
    tensors = oscar_tensors(oscar) | {"bert.LayerNorm.weight": torch.rand(12), "bert.LayerNorm.bias": torch.rand(12)}
    saved(oscar, tensors)
    with pytest.raises(InputError, match=r"unknown \['norm\.bias', 'norm\.weight'\].*region_norm"):
        load_cross_encoder(cross_config(weights=str(oscar)), WIDTH, seed=0)
    model, _, _ = load_cross_encoder(cross_config(weights=str(oscar), region_norm=True), WIDTH, seed=0)
    assert torch.equal(model.norm.weight, tensors["bert.LayerNorm.weight"])
    settings = json.loads((oscar / "config.json").read_text())
    (oscar / "config.json").write_text(json.dumps({**settings, "use_img_layernorm": 1, "img_layer_norm_eps": 1e-5}))
    model, _, _ = load_cross_encoder(cross_config(weights=str(oscar)), WIDTH, seed=0)
    assert model.norm.eps == 1e-5


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_a_plain_bert_starts_the_rest_afresh(tmp_path, prefix):
    folder = write_bert_config(tmp_path / "bert")
    tensors = bert_of(folder).state_dict()
    save_file({prefix + name: value for name, value in tensors.items()}, folder / "model.safetensors")
    model, _, about = load_cross_encoder(cross_config(weights=str(folder)), WIDTH, seed=0)
    assert about["fresh"] == ["projection", "classifier"]
    assert all(torch.equal(model.bert.state_dict()[name], value) for name, value in tensors.items())
    again, _, _ = load_cross_encoder(cross_config(weights=str(folder)), WIDTH, seed=0)
    assert torch.equal(again.projection.weight, model.projection.weight)
    other, _, _ = load_cross_encoder(cross_config(weights=str(folder)), WIDTH, seed=1)
    assert not torch.equal(other.projection.weight, model.projection.weight)


def test_names_of_the_first_conversions_are_understood(tmp_path):
    folder = write_bert_config(tmp_path / "bert")
    tensors = bert_of(folder).state_dict()
    new_to_old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    old = {}
    for name, value in tensors.items():
        end = next((end for end in new_to_old if name.endswith(end)), "")
        old[name.removesuffix(end) + new_to_old.get(end, "")] = value + 0.5
    assert "embeddings.LayerNorm.gamma" in old
    save_file(old, folder / "model.safetensors")
    model, _, _ = load_cross_encoder(cross_config(weights=str(folder)), WIDTH, seed=0)
    assert torch.equal(model.bert.embeddings.LayerNorm.weight, tensors["embeddings.LayerNorm.weight"] + 0.5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bert.encoder.layer.0.output.dense.bias": None}, r"missing \['bert\.encoder\.layer\.0\..*'\] \(1\)"),
        ({"classifier.bias": None}, r"missing \['classifier\.'\]"),
        ({"bert.img_embedding.bias": None}, r"missing \['projection\.bias'\]"),
        ({"bert.encoder.layer.7.output.dense.bias": torch.zeros(12)}, r"unknown \['bert\.encoder\.layer\.7"),
        ({"bert.pooler.dense.bias": torch.zeros(3)}, r"bert\.pooler\.dense\.bias \(3,\) instead of \(12,\)"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_named(oscar, change, words):
    tensors = {**oscar_tensors(oscar), **change}
    saved(oscar, {name: value for name, value in tensors.items() if value is not None})
    with pytest.raises(InputError, match=words):
        load_cross_encoder(cross_config(weights=str(oscar)), WIDTH, seed=0)


def test_stored_tokens_of_another_width_are_refused_unless_the_projection_is_learnt_anew(oscar):
    with pytest.raises(
        InputError, match=r"projection\.weight \(12, 10\) instead of \(12, 4\).*2054.*region_projection: fresh"
    ):
        load_cross_encoder(cross_config(weights=str(oscar)), 4, seed=0)
    model, _, about = load_cross_encoder(cross_config(weights=str(oscar), region_projection="fresh"), 4, seed=0)
    assert about["fresh"] == ["projection"]
    assert model.projection.weight.shape == (12, 4)


def test_a_folder_that_is_no_bert_or_is_damaged_is_refused(oscar, tmp_path):
    (oscar / "pytorch_model.bin").write_bytes(b"PK damaged")
    with pytest.raises(InputError, match="no weights can be read"):
        load_cross_encoder(cross_config(weights=str(oscar)), WIDTH, seed=0)
    roberta = write_bert_config(tmp_path / "roberta", model_type="roberta")
    with pytest.raises(InputError, match="model_type 'roberta'"):
        load_cross_encoder(cross_config(config=str(roberta)), WIDTH, seed=0)
    config = cross_config(config=str(write_bert_config(tmp_path / "b")), max_words=13, tags="tags.csv")
    with pytest.raises(InputError, match="32 word pieces, max_words and max_tags ask for 33"):
        load_cross_encoder(config, WIDTH, seed=0)


def test_random_weights_follow_the_seed(tmp_path):
    folder = write_bert_config(tmp_path / "bert")
    first, again, other = (load_cross_encoder(cross_config(config=str(folder)), WIDTH, seed)[0] for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.bert.pooler.dense.weight, other.bert.pooler.dense.weight)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({}, "shortlist.model is missing"),
        ({"shortlist": {"model": "a", "topp": 3}}, r"shortlist\.topp; did you mean 'top'"),
        ({"max_regoins": 3}, "did you mean 'max_regions'"),
        ({"config": None}, "random weights need a folder"),
        ({"negatives": {"hard": 1.5}}, r"negatives\.hard=1\.5"),
    ],
)
def test_a_block_with_a_mistake_is_refused(block, words):
    right = {"shortlist": {"model": "lile"}, "config": "folder"} if block else {}
    with pytest.raises(InputError, match=words):
        CrossConfig.from_dict({**right, **block})
