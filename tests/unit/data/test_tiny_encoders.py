"""The demo's encoder configurations: what is committed is what the tool makes, and the libraries can build it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lile.data.synthetic.archive import items

CAPTIONS = [item.caption for item in items(0, 200, 96)]


def test_the_tokenizer_is_what_the_tool_makes(project_root: Path, tmp_path: Path):
    tool = project_root / "workflow" / "scripts" / "make_tiny_tokenizer.py"
    subprocess.run([sys.executable, str(tool), "--out-dir", str(tmp_path)], check=True, capture_output=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        committed = project_root / "config" / "encoders" / "tiny_roberta" / name
        assert (tmp_path / name).read_text("utf-8") == committed.read_text("utf-8"), (
            f"{name}: run {tool} again; the captions' wording or the tokenizers library has changed"
        )


def test_the_tokenizer_fits_the_model_and_the_captions(project_root: Path):
    from tokenizers import Tokenizer

    folder = project_root / "config" / "encoders" / "tiny_roberta"
    config = json.loads((folder / "config.json").read_text("utf-8"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == config["vocab_size"]
    for name, token in (("bos_token_id", "<s>"), ("pad_token_id", "<pad>"), ("eos_token_id", "</s>")):
        assert tokenizer.token_to_id(token) == config[name]
    encoded = [tokenizer.encode(caption) for caption in CAPTIONS]
    assert all(tokenizer.decode(one.ids) == caption for one, caption in zip(encoded, CAPTIONS, strict=True))
    assert max(len(one.ids) for one in encoded) <= 128, "the demo's max_tokens cuts nothing"
    assert sum(len(one.ids) for one in encoded) < 1.8 * sum(len(caption.split()) for caption in CAPTIONS)


@pytest.mark.slow
def test_transformers_builds_tokenizer_and_model(project_root: Path):
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    folder = project_root / "config" / "encoders" / "tiny_roberta"
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for caption in [*CAPTIONS[:50], "Naïve “quotes”\n<mask> ×400", ""]:
        assert tokenizer(caption)["input_ids"] == plain.encode(caption).ids
    assert tokenizer.is_fast
    assert tokenizer.model_max_length == 512
    model = AutoModel.from_config(AutoConfig.from_pretrained(folder, local_files_only=True)).eval()
    batch = tokenizer(CAPTIONS[:3], padding=True, return_tensors="pt")
    assert model(**batch).last_hidden_state.shape == (3, batch["input_ids"].shape[1], 128)
    longest = torch.zeros(1, tokenizer.model_max_length, dtype=torch.long)
    assert model(input_ids=longest).last_hidden_state.shape == (1, 512, 128)


@pytest.mark.slow
def test_timm_builds_the_image_encoder(project_root: Path):
    import timm
    import torch

    model = timm.create_model(f"local-dir:{project_root / 'config' / 'encoders' / 'tiny_vit'}", pretrained=False)
    assert model.forward_features(torch.zeros(2, 3, 96, 96)).shape == (2, 37, 192)
    assert len(model.blocks) == 4
    assert timm.data.resolve_model_data_config(model)["input_size"] == (3, 96, 96)
