"""Whether the encoders' weights are there, of the right kind, and what a table will say of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lile.checks.detector import check_detector
from lile.checks.findings import Check, failed, passed, warned
from lile.checks.pretraining import check_pretraining
from lile.checks.regions import PUBLISHED, check_published
from lile.errors import InputError
from lile.features.libraries import DETECTOR, REGION_VIT, vit_of
from lile.lists import rows_below
from lile.pretrained_here import made_here, trained_name

if TYPE_CHECKING:
    from lile.features.encoder_config import EncoderConfig

CONVERT_RULE = "convert_weights"
PRETRAIN_RULE = "pretrain"


def check_encoders(config: Mapping[str, Any], dataset: str, root: Path) -> Iterator[Check]:
    """Yield one finding for each of a dataset's encoders, of those that rows have of their own, and of their sources.

    Args:
        config: complete.
        dataset: a key of ``datasets``.
        root: the working folder.
    """
    tables = config.get("tables", {}).values()
    shown = [row for table in tables if table["dataset"] == dataset for row in table["models"]]
    rows = [*shown, *(below for row in shown for below in rows_below(config["models"], row))]
    own = [config["models"].get(row, {}).get("encoders", {}) for row in rows]
    chosen = [config["datasets"][dataset]["encoders"], *own]
    for modality in ("image", "text"):
        names = [encoders[modality] for encoders in chosen if encoders.get(modality) is not None]
        sources = [config["encoders"].get(name, {}).get("source") for name in names]
        for name in dict.fromkeys([*names, *(source for source in sources if source is not None)]):
            if config["encoders"].get(name, {}).get("library") in PUBLISHED:
                yield check_published(config, dataset, name, root)
                continue
            yield check_encoder(name, config["encoders"].get(name), modality, root)
            yield from check_pretraining(config, config["encoders"].get(name, {}).get("weights"), root)


def check_encoder(name: str, block: Mapping[str, Any] | None, modality: str, root: Path) -> Check:
    """Return what was found of one encoder, without loading it.

    Args:
        name: as the config calls it.
        block: its config; ``None`` if the config has none of that name.
        modality: what the dataset needs it for, ``image`` or ``text``.
        root: the working folder.
    """
    from lile.features.encoder_config import EncoderConfig

    title = f"{modality} encoder {name}"
    if block is None:
        return failed(title, "not in the config", f"add encoders.{name}, or name another in the dataset's encoders")
    if block.get("library") == DETECTOR:
        return check_detector(title, block)
    if block.get("library") == REGION_VIT:
        # Its blocks are those of a timm ViT; what it reads has a finding of its own.
        block = vit_of(block)
    try:
        encoder = EncoderConfig.from_dict(dict(block), modality)
    except InputError as error:
        return failed(title, str(error), f"change encoders.{name}, or name another encoder")
    if encoder.weights == "random":
        return _random(title, root / str(encoder.config), encoder)
    if trained_name(encoder.weights):
        return _trained(title, root / encoder.weights)
    if encoder.convert_from is not None:
        return _converted(title, root / encoder.weights, root / encoder.convert_from)
    return _dual(title, encoder) if encoder.is_dual else _pretrained(title, encoder)


def _random(title: str, folder: Path, encoder: EncoderConfig) -> Check:
    needed = ["config.json"]
    if encoder.library == "transformers":
        needed.append("tokenizer.json" if encoder.modality == "text" else "preprocessor_config.json")
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        return failed(title, f"{', '.join(missing)} missing in {folder}", "set config to a folder that has them")
    return warned(title, "random weights, as configured", "every table it feeds says so; name weights for real results")


def _converted(title: str, folder: Path, source: Path) -> Check:
    if (folder / "model.safetensors").is_file():
        return passed(title, f"weights in {folder}, made by {CONVERT_RULE}")
    if source.is_file():
        return passed(title, f"weights will be made by {CONVERT_RULE} from {source}")
    return failed(title, f"convert_from names {source}, which is not there", "put the file there, or name weights")


def _trained(title: str, folder: Path) -> Check:
    there = all(Path(path).is_file() for path in made_here(folder))
    made = f"made by {PRETRAIN_RULE}"
    return passed(title, f"weights in {folder}, {made}" if there else f"weights will be {made}")


def _dual(title: str, encoder: EncoderConfig) -> Check:
    from lile.features.layouts import DUAL_LAYOUTS, TEXT_CONFIG
    from lile.features.open_clip_folder import text_encoder_name
    from lile.features.weights import local_weights, weights_available

    layout = DUAL_LAYOUTS[encoder.library]
    available, message = weights_available(encoder.weights, layout)
    if not available:
        return failed(title, message, "")
    folder = local_weights(encoder.weights, layout)
    if encoder.library == "open_clip" and folder is not None:
        try:
            name = text_encoder_name(folder)
        except InputError as error:
            return failed(title, str(error), "")
        there, found = weights_available(name, TEXT_CONFIG) if name else (True, "")
        if not there:
            return failed(title, f"the text encoder of {folder} needs the config.json of {name}: {found}", "")
    return passed(title, f"{message}, one vector per item")


def _pretrained(title: str, encoder: EncoderConfig) -> Check:
    from lile.features.layouts import has_tokenizer
    from lile.features.weights import local_weights, weights_available

    available, message = weights_available(encoder.weights, encoder.layout)
    if not available:
        return failed(title, message, "")
    # A hub id is a local folder too once it was fetched, or put under resources/encoders/: what that lacks, stays away.
    folder = local_weights(encoder.weights, encoder.layout)
    if encoder.modality == "text" and folder is not None and not has_tokenizer(folder):
        return failed(title, f"no tokenizer in {folder}", "add tokenizer.json (or the model's vocabulary files)")
    return passed(title, message)
