"""Where a cross-encoder's weights come from: a plain BERT, a published OSCAR, or a config with random numbers.

Both layouts are folders with ``config.json``, a tokenizer and ``*.safetensors`` or ``pytorch_model.bin``.

=====================  ==========================================================================================
plain BERT             ``embeddings..., encoder..., pooler...``, with or without ``bert.`` in front. The projection of
                       regions and the classifier start afresh, and the pooler where the file has none.
OSCAR (BertImgModel)   ``bert.embeddings..., bert.encoder..., bert.pooler...``, ``bert.img_embedding.{weight, bias}``,
                       ``bert.LayerNorm...`` where regions are normed, and ``classifier.{weight, bias}`` once it was
                       fine-tuned for retrieval; weights that were pretrained only lack it, and it starts afresh.
=====================  ==========================================================================================

Heads of other tasks (``cls...``) are left out. Whatever else is missing, left over or of another shape is an error.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lile.cross.config import CrossConfig
from lile.errors import InputError
from lile.features.encoder_config import RANDOM
from lile.features.layouts import TOKENIZER_FILES
from lile.features.parts import own_randomness
from lile.features.weights import random_digest, resolve_weights, weight_files, weights_digest
from lile.files import digest_of, sha256_of
from lile.seeds import seed_for

if TYPE_CHECKING:
    from torch import Tensor

    from lile.cross.model import CrossEncoder

log = logging.getLogger(__name__)

NORM_EPS = 1e-12  # BERT's own, where config.json gives none for regions
_HERE = {"bert.img_embedding.": "projection.", "bert.LayerNorm.": "norm."}
_OLD = {"gamma": "weight", "beta": "bias"}  # names of the first BERT conversions


def load_cross_encoder(config: CrossConfig, region_width: int, seed: int) -> tuple[CrossEncoder, Any, dict[str, Any]]:
    """Build the model and its tokenizer.

    Args:
        config: of the row.
        region_width: width of the stored image tokens.
        seed: the run's; random weights are a function of config.json, the region width and it.

    Returns:
        The model; the tokenizer; and ``{"weights", "origin", "weights_digest", "tokenizer", "fresh",
        "trainable_blocks"}``, where ``fresh`` lists the parts that no file filled.

    Raises:
        InputError: weights or tokenizer that are missing or do not fit.
    """
    random = config.weights == RANDOM
    folder = Path(str(config.config)) if random else resolve_weights(config.weights)
    settings = _settings(folder)
    digest = random_digest(settings, seed) if random else weights_digest(folder)
    with own_randomness(seed_for(seed, "cross", digest, region_width)):
        model = _fresh(folder, settings, config, region_width)
    fresh = ["all"] if random else _fill(model, folder, config)
    names = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
    about = {
        "weights": folder.name if random else config.weights,
        "origin": RANDOM if random else "pretrained",
        "weights_digest": digest,
        "tokenizer": digest_of({name: sha256_of(folder / name) for name in names}),
        "fresh": fresh,
        "trainable_blocks": config.trainable_blocks,
    }
    return model, _tokenizer(folder, settings), about


def _settings(folder: Path) -> dict[str, Any]:
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / 'config.json'}: no readable config of a BERT ({error})") from error
    kind = settings.get("model_type", "bert")  # OSCAR's were written before there were kinds
    if kind != "bert":
        raise InputError(
            f"{folder / 'config.json'}: model_type {kind!r}, but a cross-encoder is a BERT; name a BERT's folder"
        )
    return settings


def _fresh(folder: Path, settings: Mapping[str, Any], config: CrossConfig, region_width: int) -> CrossEncoder:
    from transformers import BertConfig, BertModel

    from lile.cross.model import CrossEncoder

    try:
        shape = BertConfig.from_dict({**settings, "is_decoder": False, "attn_implementation": "sdpa"})
        bert = BertModel(shape)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: no BERT can be built from its config.json: {error}") from error
    longest = config.max_words + (config.max_tags if config.tags else 0)
    if longest > shape.max_position_embeddings:
        raise InputError(
            f"{folder}: has places for {shape.max_position_embeddings} word pieces, max_words and max_tags ask for "
            f"{longest}; lower them"
        )
    if config.tags and shape.type_vocab_size < 2:
        raise InputError(f"{folder}: type_vocab_size is {shape.type_vocab_size}; tags need a second segment")
    norm = config.region_norm if config.region_norm is not None else bool(settings.get("use_img_layernorm"))
    eps = float(settings.get("img_layer_norm_eps", NORM_EPS)) if norm else None
    return CrossEncoder(bert, region_width, eps, config.trainable_blocks)


def _fill(model: CrossEncoder, folder: Path, config: CrossConfig) -> list[str]:
    """Load the folder's weights; return the parts that it has none for."""
    tensors, oscar = _renamed(_read(folder))
    if config.region_projection == "fresh":
        tensors = {name: value for name, value in tensors.items() if not name.startswith(("projection.", "norm."))}
    wanted = model.state_dict()
    may_lack = _may_lack(oscar, config)
    missing = sorted(wanted.keys() - tensors.keys())
    fresh = [part for part in may_lack if any(name.startswith(part) for name in missing)]
    lost = [name for name in missing if not name.startswith(tuple(may_lack))]
    halves = [part for part in fresh if any(name.startswith(part) for name in tensors)]
    other = [
        f"{name} {tuple(value.shape)} instead of {tuple(wanted[name].shape)}"
        for name, value in sorted(tensors.items())
        if name in wanted and value.shape != wanted[name].shape
    ]
    left = sorted(tensors.keys() - wanted.keys())
    if lost or halves or other or left:
        raise InputError(_misfit(folder, lost + halves, left, other))
    model.load_state_dict(tensors, strict=False)
    if fresh:
        log.info("%s: has no weights for %s: these start afresh", folder, ", ".join(part.rstrip(".") for part in fresh))
    return [part.rstrip(".") for part in fresh]


def _may_lack(oscar: bool, config: CrossConfig) -> list[str]:
    if not oscar:
        return ["bert.pooler.", "projection.", "norm.", "classifier."]
    return ["classifier.", *(("projection.", "norm.") if config.region_projection == "fresh" else ())]


def _read(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of the folder's weight files, by their published names."""
    import torch
    from safetensors.torch import load_file

    tensors: dict[str, Tensor] = {}
    for path in weight_files(folder):
        try:
            # weights_only: a pickle from the net may hold code, and this reads tensors alone.
            is_safe = path.suffix == ".safetensors"
            tensors |= load_file(path) if is_safe else torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # safetensors, pickle and torch each raise kinds of their own
            raise InputError(f"{path}: no weights can be read from it: {' '.join(str(error).split())[:200]}") from error
    return tensors


def _renamed(published: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """Return the tensors under our names, and whether they are in OSCAR's layout."""
    oscar = any(name.startswith("bert.img_embedding.") for name in published)
    ours: dict[str, Tensor] = {}
    for name, value in published.items():
        if name.startswith("cls.") or name.endswith("position_ids") or (name.startswith("classifier.") and not oscar):
            continue
        ours[_our_name(name)] = value
    return ours, oscar


def _our_name(published: str) -> str:
    stem, dot, last = published.rpartition(".")
    name = stem + dot + _OLD.get(last, last)
    if name.startswith(("embeddings.", "encoder.", "pooler.")):
        return f"bert.{name}"
    before = next((start for start in _HERE if name.startswith(start)), "")
    return _HERE.get(before, "") + name.removeprefix(before)


def _misfit(folder: Path, missing: list[str], left: list[str], other: list[str]) -> str:
    parts = [("missing", missing), ("unknown", left), ("of another shape", other)]
    found = "; ".join(f"{word} {names[:3]} ({len(names)})" for word, names in parts if names)
    hint = "check that weights and config.json belong together"
    if any(text.startswith("projection.weight") for text in other):
        hint = (
            "the projection of regions was made for tokens of another width (OSCAR's is 2054: 2048 features and 6 "
            "numbers of the box). Store such tokens, or set region_projection: fresh to learn it anew"
        )
    elif any(name.startswith("norm.") for name in left + missing):
        hint = "region_norm says whether regions are normed: null takes it from config.json (use_img_layernorm)"
    return f"{folder}: the weights do not fill a cross-encoder: {found}; {hint}"


def _tokenizer(folder: Path, settings: Mapping[str, Any]) -> Any:
    from lile.features.transformers_model import load_tokenizer

    tokenizer = load_tokenizer(folder, "AutoTokenizer" if "model_type" in settings else "BertTokenizerFast")
    if tokenizer.cls_token_id is None or tokenizer.sep_token_id is None:
        raise InputError(f"{folder}: its tokenizer has no [CLS] or no [SEP]; use the tokenizer of a BERT")
    return tokenizer
