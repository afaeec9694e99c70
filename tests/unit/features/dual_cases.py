"""Tiny dual encoders with random weights, saved as the hub has them; nothing of them is downloaded."""

from __future__ import annotations

import json
from pathlib import Path

import torch

SIDE_PX = 32
LENGTH = 16  # token ids of a text, where the kind itself does not say
_VISION = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": SIDE_PX, "patch_size": 8,
}  # fmt: skip
_TEXT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def block(folder: Path | str, **values: object) -> dict:
    """A config block of one side of the model in ``folder``."""
    return {"weights": str(folder), "library": "dual_encoder", "trainable_blocks": 0, **values}


def save_clip(folder: Path) -> Path:
    """A CLIP with its byte-pair tokenizer and 77 positions."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    size = save_clip_tokenizer(folder)
    ids = {"bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": size - 1}
    text = {**_TEXT, **ids, "vocab_size": size, "max_position_embeddings": 77}
    _save(CLIPModel(CLIPConfig(text_config=text, vision_config=_VISION, projection_dim=12)), folder)
    crop = {"height": SIDE_PX, "width": SIDE_PX}
    CLIPImageProcessor(size={"shortest_edge": SIDE_PX}, crop_size=crop).save_pretrained(folder)
    return folder


def save_clip_tokenizer(folder: Path) -> int:
    """CLIP's tokenizer without merges: every letter is a token. Returns the number of tokens."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    _write(folder / "vocab.json", {token: number for number, token in enumerate(tokens)})
    (folder / "merges.txt").write_text("#version: 0.2\n")
    names = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    config = {**names, "pad_token": "<|endoftext|>", "tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    _write(folder / "tokenizer_config.json", config)
    return len(tokens)


def save_bert_tokenizer(folder: Path, words: list[str], length: int = 512) -> int:
    """BERT's tokenizer of a few words. Returns the number of tokens."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "model_max_length": length})
    return len(tokens)


def save_align(folder: Path, words: list[str]) -> Path:
    """An ALIGN: EfficientNet and BERT, cut at 64 tokens whatever its positions."""
    from transformers import AlignConfig, AlignModel, EfficientNetImageProcessor

    text = {**_TEXT, "vocab_size": save_bert_tokenizer(folder, words), "max_position_embeddings": 100}
    vision = {"image_size": SIDE_PX, "width_coefficient": 0.1, "depth_coefficient": 0.2, "hidden_dim": 16}
    _save(AlignModel(AlignConfig(text_config=text, vision_config=vision, projection_dim=32)), folder, gain=2.2)
    size, crop = {"height": 36, "width": 36}, {"height": SIDE_PX, "width": SIDE_PX}
    EfficientNetImageProcessor(size=size, crop_size=crop, do_center_crop=True).save_pretrained(folder)
    return folder


def save_siglip(folder: Path, tokens: int) -> Path:
    """A SigLIP beside a tokenizer of ``tokens`` that is there already."""
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    names = json.loads((folder / "tokenizer_config.json").read_text())
    _write(folder / "tokenizer_config.json", {**names, "model_max_length": LENGTH})
    text = {**_TEXT, "vocab_size": tokens, "max_position_embeddings": LENGTH, "projection_size": 16}
    _save(SiglipModel(SiglipConfig(text_config=text, vision_config=_VISION)), folder)
    SiglipImageProcessor(size={"height": SIDE_PX, "width": SIDE_PX}).save_pretrained(folder)
    return folder


def save_vision_text(folder: Path, words: list[str]) -> Path:
    """A ViT and a BERT put together by VisionTextDualEncoder."""
    from transformers import BertConfig, BertModel, ViTConfig, ViTImageProcessor, ViTModel
    from transformers import VisionTextDualEncoderConfig as Config
    from transformers import VisionTextDualEncoderModel as Model

    bert = BertConfig(**_TEXT, vocab_size=save_bert_tokenizer(folder, words), max_position_embeddings=40)
    vit = ViTConfig(**_VISION)
    config = Config.from_vision_text_configs(vit, bert, projection_dim=12)
    _save(Model(config, vision_model=ViTModel(vit), text_model=BertModel(bert)), folder)
    ViTImageProcessor(size={"height": SIDE_PX, "width": SIDE_PX}).save_pretrained(folder)
    return folder


def save_chinese_clip(folder: Path, words: list[str]) -> Path:
    """A Chinese-CLIP: CLIP's ViT and a BERT."""
    from transformers import ChineseCLIPConfig, ChineseCLIPImageProcessor, ChineseCLIPModel

    text = {**_TEXT, "vocab_size": save_bert_tokenizer(folder, words, 52), "max_position_embeddings": 512}
    _save(ChineseCLIPModel(ChineseCLIPConfig(text_config=text, vision_config=_VISION, projection_dim=12)), folder)
    ChineseCLIPImageProcessor(size={"height": SIDE_PX, "width": SIDE_PX}, do_center_crop=False).save_pretrained(folder)
    return folder


def save_open_clip(folder: Path) -> Path:
    """A CLIP as open_clip saves it: its own text encoder, with the tokenizer that open_clip brings."""
    vision = {"image_size": SIDE_PX, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8}
    text = {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
    return _save_open_clip(folder, {"embed_dim": 12, "vision_cfg": vision, "text_cfg": text}, {})


def save_biomed_clip(folder: Path, text_config: Path, words: list[str]) -> Path:
    """A model of BiomedCLIP's making: a ViT of timm, a BERT of transformers whose config.json lies elsewhere."""
    from transformers import BertConfig

    size = save_bert_tokenizer(folder, words)
    BertConfig(**_TEXT, vocab_size=size, max_position_embeddings=40).save_pretrained(text_config)
    vision = {"timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear", "image_size": SIDE_PX}
    text = {
        "hf_model_name": "me/bert", "hf_tokenizer_name": "me/bert", "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler", "context_length": LENGTH,
    }  # fmt: skip
    config = {"embed_dim": 12, "vision_cfg": vision, "text_cfg": text}
    return _save_open_clip(folder, config, {"hf_model_name": str(text_config), "hf_model_pretrained": False})


def _save_open_clip(folder: Path, config: dict, here: dict) -> Path:
    """Save a model of this config; ``here`` replaces keys of its text_cfg while it is built."""
    from open_clip.model import CLIP, CustomTextCLIP
    from safetensors.torch import save_file

    text = {**config["text_cfg"], **here}
    model = _stirred((CustomTextCLIP if here else CLIP)(**{**config, "text_cfg": text}))
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    shown = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}
    preprocess = {**shown, "interpolation": "bicubic", "resize_mode": "shortest"}
    _write(folder / "open_clip_config.json", {"model_cfg": config, "preprocess_cfg": preprocess})
    return folder


def _save(model: torch.nn.Module, folder: Path, gain: float = 1.5) -> None:
    _stirred(model, gain).save_pretrained(folder)


def _stirred(model: torch.nn.Module, gain: float = 1.5) -> torch.nn.Module:
    """Give every parameter a say, and every layer an output as large as its input: vectors of items must differ."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim < 2:  # norms and biases, which start at 1 and 0; a few start at random about 0
                parameter.copy_(parameter.round() + 0.1 * noise)
            else:
                parameter.copy_(gain * noise / parameter[0].numel() ** 0.5)
    return model


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
