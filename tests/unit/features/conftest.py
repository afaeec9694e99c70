"""Tiny encoders, saved in the hub's own file layout."""

from __future__ import annotations

import json
import logging
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dual_cases
import pytest
import torch

TINY_VIT = {"embed_dim": 24, "depth": 4, "num_heads": 3, "img_size": 32, "patch_size": 8, "num_classes": 5}
WORDS = [
    *[
        "a",
        "gland",
        "with",
        "dense",
        "nuclei",
        "and",
        "necrosis",
        "in",
        "the",
        "stroma",
        "shows",
        "mitoses",
        "few",
        "many",
        "large",
        "tumour",
        "cells",
    ]
]


@pytest.fixture
def run_script(project_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Runs a workflow script in this process (a new one would import torch again), as its command line does."""
    root = logging.getLogger()
    handlers, threads = list(root.handlers), torch.get_num_threads()

    def run(name: str, *arguments: object) -> None:
        script = project_root / "workflow" / "scripts" / f"{name}.py"
        monkeypatch.setattr(sys, "argv", [script.name, *map(str, arguments)])
        runpy.run_path(str(script), run_name="__main__")

    yield run
    root.handlers[:] = handlers
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def words() -> list[str]:
    """All that the tiny tokenizers know."""
    return WORDS


@pytest.fixture(scope="session")
def save_timm() -> Callable[..., None]:
    """Saves a timm model: ``(model, architecture, folder, model_args, **pretrained_cfg)``."""
    return _save_timm


@pytest.fixture(scope="session")
def save_tokenizer() -> Callable[[Path, int], int]:
    """Saves a tokenizer of :data:`WORDS`: ``(folder, id of the padding)``."""
    return _save_tokenizer


@pytest.fixture(scope="session")
def save_text_model() -> Callable[..., None]:
    """Saves a tiny text model with its tokenizer: ``(kind, folder, **its config)``."""
    return _save_text_model


@pytest.fixture(scope="session")
def tiny_deit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DeiT of 4 blocks for 32 px, as timm publishes its models."""
    import timm
    import torch

    folder = tmp_path_factory.mktemp("hub") / "tiny_deit"
    torch.manual_seed(1)
    model = timm.create_model("deit_tiny_patch16_224", **TINY_VIT)
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases start at 1 and 0: give every parameter a say
            parameter.add_(0.1 * torch.randn_like(parameter))
    config = {"model_args": TINY_VIT, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3], "interpolation": "bicubic"}
    _save_timm(model, "deit_tiny_patch16_224", folder, **config)
    return folder


def _save_timm(model, architecture: str, folder: Path, model_args: dict, **pretrained_cfg) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    cfg = {"input_size": [3, 32, 32], "num_classes": 5, "classifier": "head", "first_conv": "patch_embed.proj"}
    config = {"architecture": architecture, "num_classes": 5, "model_args": model_args}
    (folder / "config.json").write_text(json.dumps({**config, "pretrained_cfg": {**cfg, **pretrained_cfg}}))


def _save_tokenizer(folder: Path, pad: int) -> int:
    """Save a word-level tokenizer in the hub's layout; returns its number of words. ``pad`` is the padding's id."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>"] if pad == 1 else ["<pad>", "<s>", "</s>", "<unk>"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    core = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = Whitespace()
    markers = [("<s>", vocabulary["<s>"]), ("</s>", vocabulary["</s>"])]
    core.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=markers)
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=core, **names).save_pretrained(folder)
    return len(vocabulary)


def _save_text_model(kind: str, folder: Path, **others: object) -> None:
    """Save a tiny model of a transformers kind with its tokenizer."""
    import torch
    import transformers

    pad = 1 if "Roberta" in kind else 0
    words = _save_tokenizer(folder, pad)
    shape = {"hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 48}
    config = getattr(transformers, f"{kind}Config")(
        **(shape | others),
        vocab_size=words,
        max_position_embeddings=22,
        pad_token_id=pad,
        bos_token_id=0,
        eos_token_id=2,
    )
    torch.manual_seed(2)
    model = getattr(transformers, f"{kind}Model")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RoBERTa of 4 layers with a tokenizer of a few words."""
    folder = tmp_path_factory.mktemp("hub") / "tiny_roberta"
    _save_text_model("Roberta", folder)
    return folder


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One tiny dual encoder of each kind, as the hub has them."""
    root = tmp_path_factory.mktemp("dual")
    return {
        "clip": dual_cases.save_clip(root / "clip"),
        "align": dual_cases.save_align(root / "align", WORDS),
        "siglip": dual_cases.save_siglip(root / "siglip", _save_tokenizer(root / "siglip", 1)),
        "vision_text": dual_cases.save_vision_text(root / "vision_text", WORDS),
        "chinese_clip": dual_cases.save_chinese_clip(root / "chinese_clip", WORDS),
    }
