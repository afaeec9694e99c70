"""Where an encoder's weights lie: a folder in the hub's own layout (``config.json`` and ``*.safetensors``).

Looked up in this order: a local folder; the folder of a Python package; for a hub id ``resources/encoders/``, the local
Hugging Face cache, the network. Weights are never replaced by random ones: what is missing is said in one line.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lile.errors import InputError
from lile.features.encoder_config import RANDOM
from lile.files import digest_of, sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterable

LOCAL_ENCODERS = Path("resources/encoders")
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json", "merges.txt",
    "added_tokens.json", "sentencepiece.bpe.model",
)  # fmt: skip
VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("vocab.txt",), ("sentencepiece.bpe.model",))
"""The files of which a tokenizer needs all of one kind."""

_PACKAGE = "package:"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def resolve_weights(spec: str) -> Path:
    """Return the local folder of the weights that ``spec`` names, downloading them from the hub where need be.

    Args:
        spec: a folder, ``package:<python package>[/subfolder]`` or a hub id such as ``timm/deit_base_patch16_224``.

    Raises:
        InputError: there are none; says in one line which files to fetch and where to put them.
    """
    found = local_weights(spec)
    return found if found is not None else _download(spec)


def local_weights(spec: str) -> Path | None:
    """Return the folder of ``spec`` on this machine; ``None`` where only the hub can have it.

    Raises:
        InputError: ``spec`` names a folder or package that is not there, or not whole.
    """
    if spec.startswith(_PACKAGE):
        return _in_package(spec)
    if Path(spec).is_dir():
        folder = Path(spec)
    elif not _HUB_ID.fullmatch(spec):
        raise InputError(f"{spec}: no such folder of weights. Name a folder with config.json and model.safetensors")
    else:
        named = (LOCAL_ENCODERS / spec.replace("/", "--"), LOCAL_ENCODERS / spec.rsplit("/", maxsplit=1)[-1])
        folder = next((path for path in named if path.is_dir()), Path())
        if folder == Path():
            return _in_cache(spec)
    weight_files(folder)
    return folder


def weights_available(spec: str) -> tuple[bool, str]:
    """Say whether ``spec`` can be resolved, without loading or downloading weights.

    Returns:
        Whether it can, and a line that says where the weights are or what to do.
    """
    if spec == RANDOM:
        return True, "random weights, made from the config"
    try:
        found = local_weights(spec)
        if found is not None:
            return True, f"weights in {found}"
        files = _hub_files(spec)
    except InputError as error:
        return False, str(error)
    return True, f"weights will be fetched from the hub: {spec} ({', '.join(files)})"


def weight_files(folder: Path) -> list[Path]:
    """Return the files of ``folder`` that hold weights, sorted by name; safetensors come before pickled ones.

    Raises:
        InputError: ``config.json`` or the weights are missing.
    """
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    chosen = [name for name in _chosen_weights(names) if not name.endswith(".json")]
    missing = [what for what, there in (("config.json", "config.json" in names), ("weights", chosen)) if not there]
    if missing:
        raise InputError(
            f"{folder}: {' and '.join(missing)} missing; expected the hub's own layout, config.json and "
            f"model.safetensors (or pytorch_model.bin); found {sorted(names)[:8]}"
        )
    return [folder / name for name in chosen]


def has_tokenizer(folder: Path) -> bool:
    """Return whether ``folder`` holds the vocabulary of a tokenizer, of any kind that transformers reads."""
    return any(all((folder / name).is_file() for name in names) for names in VOCABULARIES)


def weights_digest(folder: Path) -> str:
    """Return 16 hex digits that name the bytes of all weight files in ``folder``."""
    return digest_of([sha256_of(path) for path in weight_files(folder)])


def random_digest(config: dict[str, Any], seed: int) -> str:
    """Return 16 hex digits that name random weights: they are a function of the architecture and the seed alone."""
    return digest_of({"config": config, "seed": seed})


def _chosen_weights(names: Iterable[str]) -> list[str]:
    """The files to load, of those in a repository: one kind only, so that a digest names what is really loaded."""
    present = sorted(names)
    for pattern in (
        r"model\.safetensors",
        r"model-\d+-of-\d+\.safetensors|model\.safetensors\.index\.json",
        r".*\.safetensors",
        r"pytorch_model\.bin",
        r"pytorch_model-\d+-of-\d+\.bin|pytorch_model\.bin\.index\.json",
    ):
        chosen = [name for name in present if re.fullmatch(pattern, name)]
        if chosen:
            return chosen
    return []


def _in_package(spec: str) -> Path:
    name, _, subfolder = spec.removeprefix(_PACKAGE).partition("/")
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise InputError(f"{spec}: the Python package {name!r} is not installed; install it into this environment")
    folder = Path(found.submodule_search_locations[0]) / subfolder
    weight_files(folder)
    return folder


def _in_cache(repo: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        folder = Path(snapshot_download(repo, local_files_only=True))
        weight_files(folder)
    except (OSError, HFValidationError, InputError):  # not there, or an interrupted download: the hub can complete it
        return None
    return folder


def _download(repo: str) -> Path:
    from huggingface_hub import snapshot_download

    files = _hub_files(repo)
    try:
        folder = Path(snapshot_download(repo, allow_patterns=files))
    except Exception as error:  # the hub's client raises errors of several libraries
        raise InputError(_what_to_fetch(repo, error)) from error
    weight_files(folder)
    return folder


def _hub_files(repo: str) -> list[str]:
    """The files of a hub repository that an encoder needs."""
    from huggingface_hub import HfApi

    try:
        siblings = HfApi().model_info(repo, timeout=10).siblings or []
    except Exception as error:
        raise InputError(_what_to_fetch(repo, error)) from error
    names = [entry.rfilename for entry in siblings]
    weights = _chosen_weights(names)
    if "config.json" not in names or not weights:
        raise InputError(f"{repo}: this hub repository has no config.json with weights beside it; found {names[:8]}")
    return ["config.json", *weights, *(name for name in TOKENIZER_FILES if name in names)]


def _what_to_fetch(repo: str, error: Exception) -> str:
    reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"[:120]
    if type(error).__name__ == "OfflineModeIsEnabled":
        reason = "HF_HUB_OFFLINE is set"
    return (
        f"no weights for {repo!r}: no such folder, not in {LOCAL_ENCODERS}/ or the Hugging Face cache, and not from "
        f"the hub ({reason}). Download config.json, model.safetensors (or pytorch_model.bin) and, for text, the "
        f"tokenizer files of the hub repository {repo} into {LOCAL_ENCODERS / repo.replace('/', '--')}/"
    )
