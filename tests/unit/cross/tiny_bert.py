"""A tiny BERT as a folder of files."""

from __future__ import annotations

import json
from pathlib import Path

WORDS = ["text", "gland", "dense", "nuclei", "stroma", *map(str, range(24))]
SHAPE = {
    "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 24,
    "max_position_embeddings": 32, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
}  # fmt: skip


def write_bert_config(folder: Path, **more: object) -> Path:
    """A folder with ``config.json`` and ``vocab.txt`` alone, as ``weights: random`` takes it."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    config = {"model_type": "bert", **SHAPE, "vocab_size": len(vocabulary), **more}
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return folder
