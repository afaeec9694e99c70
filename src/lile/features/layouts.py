"""Which files a folder of weights holds, for each kind of model, and which of them are read.

Of several files with weights one kind is read, the same that the library reads: a digest must name what is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json", "merges.txt",
    "added_tokens.json", "sentencepiece.bpe.model", "spiece.model",
)  # fmt: skip
VOCABULARIES = (
    ("tokenizer.json",), ("vocab.json", "merges.txt"), ("vocab.txt",), ("sentencepiece.bpe.model",), ("spiece.model",),
)  # fmt: skip
"""The files of which a tokenizer needs all of one kind."""

PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
"""Either says how transformers prepares an image."""

_SAFETENSORS = (r"model\.safetensors", r"model-\d+-of-\d+\.safetensors|model\.safetensors\.index\.json")
_PICKLED = (r"pytorch_model\.bin", r"pytorch_model-\d+-of-\d+\.bin|pytorch_model\.bin\.index\.json")

Alternatives = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The files of one kind of model.

    Attributes:
        config: the architecture's file.
        weights: patterns of file names; the first that matches anything is read. Empty: no weights are needed.
        described: the needed files in words, for messages.
        needs: what else there must be, by the word that a message has for it: one group of files of several.
        also: files that are fetched where the hub has them.
        other: what another file means, for who took the wrong library: (file, advice).
    """

    config: str
    weights: tuple[str, ...]
    described: str
    needs: Mapping[str, Alternatives] = field(default_factory=dict)
    also: tuple[str, ...] = TOKENIZER_FILES
    other: tuple[str, str] | None = None

    def weights_among(self, names: Iterable[str]) -> list[str]:
        """Return the files to load, sorted, with their index where they are several."""
        present = sorted(names)
        for pattern in self.weights:
            chosen = [name for name in present if re.fullmatch(pattern, name)]
            if chosen:
                return chosen
        return []

    def wanted_among(self, names: Iterable[str]) -> list[str]:
        """Return all files to fetch of those that a repository has."""
        present = list(names)
        return [self.config, *self.weights_among(present), *(name for name in self.also if name in present)]

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return what is needed and not among ``names``, in words."""
        present = list(names)
        lacking = [] if self.config in present else [self.config]
        if self.weights and all(name.endswith(".json") for name in self.weights_among(present)):
            lacking.append("weights")
        for what, groups in self.needs.items():
            if not any(all(name in present for name in group) for group in groups):
                lacking.append(f"{what} ({' or '.join(' and '.join(group) for group in groups)})")
        return lacking

    def advice(self, names: Iterable[str]) -> str:
        """Return a sentence for a folder that may be whole for another library, or nothing."""
        return f". {self.other[1]}" if self.other and self.other[0] in names else ""


ENCODER = Layout(
    config="config.json",
    weights=(*_SAFETENSORS, r".*\.safetensors", *_PICKLED),
    described="config.json, model.safetensors (or pytorch_model.bin) and, for text, the tokenizer files",
)
"""One encoder of timm or transformers."""

PICTURES = Layout(
    config="config.json",
    weights=(*_SAFETENSORS, *_PICKLED),
    described="config.json, model.safetensors (or pytorch_model.bin) and preprocessor_config.json",
    needs={"image processor": tuple((name,) for name in PROCESSOR_FILES)},
    also=PROCESSOR_FILES,
)
"""An image encoder of transformers."""

DUAL_ENCODER = Layout(
    config="config.json",
    weights=(*_SAFETENSORS, *_PICKLED),
    described=(
        "config.json, model.safetensors (or pytorch_model.bin), preprocessor_config.json and the tokenizer files"
    ),
    needs={"image processor": tuple((name,) for name in PROCESSOR_FILES), "tokenizer": VOCABULARIES},
    also=(*PROCESSOR_FILES, *TOKENIZER_FILES),
    other=("open_clip_config.json", "If it is open_clip's, set library: open_clip"),
)
"""An image and a text encoder with one joint space, of transformers."""

OPEN_CLIP = Layout(
    config="open_clip_config.json",
    weights=(
        r"open_clip_model\.safetensors",
        r"open_clip_pytorch_model\.safetensors",
        r"open_clip_pytorch_model\.bin",
    ),
    described="open_clip_config.json, open_clip_model.safetensors (or open_clip_pytorch_model.bin) and, where its text "
    "encoder is one of transformers, the tokenizer files",
    other=("config.json", "If it is transformers', set library: dual_encoder"),
)
"""The same, of open_clip."""

DUAL_LAYOUTS = {"dual_encoder": DUAL_ENCODER, "open_clip": OPEN_CLIP}
"""By the word that the config has for the library."""

TEXT_CONFIG = Layout(config="config.json", weights=(), described="config.json", also=())
"""The architecture of a text encoder of transformers, whose weights come from elsewhere."""


def has_tokenizer(folder: Path) -> bool:
    """Return whether ``folder`` holds the vocabulary of a tokenizer, of any kind that transformers reads."""
    return any(all((folder / name).is_file() for name in names) for names in VOCABULARIES)
