"""Where an encoder's weights lie: a folder in the hub's own layout (see :mod:`lile.features.layouts`).

Looked up in this order: a local folder; the folder of a Python package; for a hub id ``resources/encoders/``, the local
Hugging Face cache, the network. Weights are never replaced by random ones: what is missing is said in one line.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

from lile.errors import InputError
from lile.features.encoder_config import RANDOM
from lile.features.layouts import ENCODER, Layout
from lile.files import digest_of, sha256_of

LOCAL_ENCODERS = Path("resources/encoders")

TRAINED_HERE = "trained_here"
"""Key of config.json with which the stage `pretrain` says what it trained the weights on; the hub has no such key."""

_PACKAGE = "package:"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def resolve_weights(spec: str, layout: Layout = ENCODER) -> Path:
    """Return the local folder of the weights that ``spec`` names, downloading them from the hub where need be.

    Args:
        spec: a folder, ``package:<python package>[/subfolder]`` or a hub id such as ``timm/deit_base_patch16_224``.
        layout: what the folder must hold.

    Raises:
        InputError: there are none; says in one line which files to fetch and where to put them.
    """
    found = local_weights(spec, layout)
    return found if found is not None else _download(spec, layout)


def local_weights(spec: str, layout: Layout = ENCODER) -> Path | None:
    """Return the folder of ``spec`` on this machine; ``None`` where only the hub can have it.

    Raises:
        InputError: ``spec`` names a folder or package that is not there, or not whole.
    """
    if spec.startswith(_PACKAGE):
        return _in_package(spec, layout)
    if Path(spec).is_dir():
        folder = Path(spec)
    elif not _HUB_ID.fullmatch(spec):
        raise InputError(f"{spec}: no such folder of weights. Name a folder with config.json and model.safetensors")
    else:
        named = (LOCAL_ENCODERS / spec.replace("/", "--"), LOCAL_ENCODERS / spec.rsplit("/", maxsplit=1)[-1])
        folder = next((path for path in named if path.is_dir()), Path())
        if folder == Path():
            return _in_cache(spec, layout)
    weight_files(folder, layout)
    return folder


def weights_available(spec: str, layout: Layout = ENCODER) -> tuple[bool, str]:
    """Say whether ``spec`` can be resolved, without loading or downloading weights.

    Returns:
        Whether it can, and a line that says where the weights are or what to do.
    """
    if spec == RANDOM:
        return True, "random weights, made from the config"
    try:
        found = local_weights(spec, layout)
        if found is not None:
            return True, f"weights in {found}"
        files = _hub_files(spec, layout)
    except InputError as error:
        return False, str(error)
    return True, f"weights will be fetched from the hub: {spec} ({', '.join(files)})"


def weight_files(folder: Path, layout: Layout = ENCODER) -> list[Path]:
    """Return the files of ``folder`` that hold weights, sorted by name; safetensors come before pickled ones.

    Raises:
        InputError: a file that the layout needs is missing.
    """
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    missing = layout.missing(names)
    if missing:
        raise InputError(
            f"{folder}: {' and '.join(missing)} missing; expected the hub's own layout, {layout.described}; found "
            f"{sorted(names)[:8]}{layout.advice(names)}"
        )
    return [folder / name for name in layout.weights_among(names) if not name.endswith(".json")]


def weights_digest(folder: Path, layout: Layout = ENCODER) -> str:
    """Return 16 hex digits that name the bytes of all weight files in ``folder``."""
    return digest_of([sha256_of(path) for path in weight_files(folder, layout)])


def origin_of(hub_config: dict[str, Any]) -> str:
    """Return what a record says of weights from a folder with this ``config.json``: whose training they are."""
    trained_on = hub_config.get(TRAINED_HERE)
    return f"pretrained here on {trained_on}" if trained_on else "pretrained"


def random_digest(config: dict[str, Any], seed: int) -> str:
    """Return 16 hex digits that name random weights: they are a function of the architecture and the seed alone."""
    return digest_of({"config": config, "seed": seed})


def _in_package(spec: str, layout: Layout) -> Path:
    name, _, subfolder = spec.removeprefix(_PACKAGE).partition("/")
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise InputError(f"{spec}: the Python package {name!r} is not installed; install it into this environment")
    folder = Path(found.submodule_search_locations[0]) / subfolder
    weight_files(folder, layout)
    return folder


def _in_cache(repo: str, layout: Layout) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        folder = Path(snapshot_download(repo, local_files_only=True))
        weight_files(folder, layout)
    except (OSError, HFValidationError, InputError):  # not there, or an interrupted download: the hub can complete it
        return None
    return folder


def _download(repo: str, layout: Layout) -> Path:
    from huggingface_hub import snapshot_download

    files = _hub_files(repo, layout)
    try:
        folder = Path(snapshot_download(repo, allow_patterns=files))
    except Exception as error:  # the hub's client raises errors of several libraries
        raise InputError(_what_to_fetch(repo, layout, error)) from error
    weight_files(folder, layout)
    return folder


def _hub_files(repo: str, layout: Layout) -> list[str]:
    """The files of a hub repository that an encoder needs."""
    from huggingface_hub import HfApi

    try:
        found = HfApi().model_info(repo, timeout=10)
        if getattr(found, "gated", False):  # its list of files is public, the files are not
            HfApi().auth_check(repo)
    except Exception as error:
        raise InputError(_what_to_fetch(repo, layout, error)) from error
    names = [entry.rfilename for entry in found.siblings or []]
    missing = layout.missing(names)
    if missing:
        raise InputError(
            f"{repo}: this hub repository has no {' and no '.join(missing)}; needed are {layout.described}; found "
            f"{names[:8]}{layout.advice(names)}"
        )
    return layout.wanted_among(names)


def _what_to_fetch(repo: str, layout: Layout, error: Exception) -> str:
    reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"[:120]
    if type(error).__name__ == "OfflineModeIsEnabled":
        reason = "HF_HUB_OFFLINE is set"
    refused = _refusal(repo, error)
    if refused:
        return (
            f"no weights for {repo!r}: {refused}. Or put {layout.described} into "
            f"{LOCAL_ENCODERS / repo.replace('/', '--')}/"
        )
    return (
        f"no weights for {repo!r}: no such folder, not in {LOCAL_ENCODERS}/ or the Hugging Face cache, and not from "
        f"the hub ({reason}). Download {layout.described} of the hub repository {repo} into "
        f"{LOCAL_ENCODERS / repo.replace('/', '--')}/"
    )


def _refusal(repo: str, error: Exception) -> str:
    """What the hub's no means and what to do about it; nothing where it is not a no."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    status = getattr(getattr(error, "response", None), "status_code", None)
    page = f"https://huggingface.co/{repo}"
    log_in = "log in with `hf auth login` or set HF_TOKEN"
    if "GatedRepoError" in kinds or status == 403:
        return f"the hub's {repo} is gated: ask for access at {page}, then {log_in}"
    if "RepositoryNotFoundError" in kinds or status == 401:
        return f"the hub has no {repo} for you: check the name at {page}; if it is private or gated, {log_in}"
    return ""
