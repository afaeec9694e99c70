"""What a dataset's tables will take before anything starts: disk, memory, and time where a rate was measured here.

All of it follows from counts and shapes (:mod:`lile.checks.sizes`, :mod:`lile.checks.shapes`); no weights are loaded.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lile.checks.findings import Check, passed, warned
from lile.checks.shapes import Shape, stored_shape
from lile.checks.sizes import (
    INDEX_BYTES,
    TEXT_BYTES,
    Counts,
    bytes_there,
    counts_of,
    in_words,
    store_bytes,
    tokens_per_text,
)
from lile.checks.survey import Survey
from lile.checks.times import check_times
from lile.features.libraries import REGION_VIT, vit_of
from lile.lists import data_of, encoder_of, folds_of, rows_below, store_of

ADAM_COPIES = 4
"""Numbers held for each that is trained: itself, its gradient and Adam's two moments."""
SAVED_COPIES = 4
"""On disk while a row trains: the checkpoint with both moments, and the best weights."""
DEPTHS = {"large": 24, "huge": 32, "giant": 40}
"""Blocks of a ViT by the word for its size; smaller ones have 12."""
ACTIVATIONS = 68
"""Bytes for each token and unit of width that a block keeps for the gradient, in 32 bits: twice the 34 that Korthikanti
et al. (2022, arXiv 2205.05198, section 4.1) count in 16 bits for all but the attention itself."""


def check_cost(config: Mapping[str, Any], dataset: str, survey: Survey | None, root: Path) -> Iterator[Check]:
    """Yield what a dataset's tables will take.

    Args:
        config: complete; ``tables`` may be absent where only the data are checked.
        dataset: a key of ``datasets``.
        survey: its counts; ``None`` where the data are still to be downloaded.
        root: the working folder.
    """
    counts = counts_of(config["datasets"][dataset], survey)
    rows = _rows(config, dataset)
    stores = _stores(config, dataset, rows)
    total, there = 0, 0
    for name, modality in stores.items():
        shape = stored_shape(config["encoders"][name], survey, root)
        if shape is None:
            yield passed(f"store {name}", "its size is known once the encoder's config.json is here")
            continue
        found = _store(config["encoders"][name], modality, shape, counts, root)
        size = store_bytes(*found, shape)
        total, there = total + size, there + bytes_there(_shards(config, dataset, name), root)
        yield passed(f"store {name}", _described(modality, *found, shape, counts, size))
    yield from _disk(config, dataset, rows, (total, there), _to_fetch(config["datasets"][dataset], survey, root), root)
    yield _memory(config, dataset, rows, counts, survey, root)
    yield from check_times(
        config, dataset, rows, {name: _items(modality, counts) for name, modality in stores.items()}, root
    )


def _rows(config: Mapping[str, Any], dataset: str) -> list[str]:
    """The rows of a dataset's tables that are trained or given, less those of ablations, which are made on demand."""
    tables = config.get("tables", {}).values()
    shown = [row for table in tables if table["dataset"] == dataset for row in table["models"] if "__" not in row]
    rows = [*shown, *(below for row in shown for below in rows_below(config["models"], row))]
    trained = [row for row in rows if config["models"].get(row, {}).get("kind") == "trained"]
    return list(dict.fromkeys(trained))


def _stores(config: Mapping[str, Any], dataset: str, rows: list[str]) -> dict[str, str]:
    """The encoders whose stores are made: name and modality, images first."""
    found = {}
    for modality in ("image", "text"):
        used = [encoder_of(config, dataset, row, modality) for row in rows]
        for name in used or [config["datasets"][dataset]["encoders"][modality]]:
            if name is not None and name in config["encoders"]:
                found[store_of(config, name)] = modality
    return found


def _items(modality: str, counts: Counts) -> int:
    return counts.images if modality == "image" else counts.descriptions


def _store(block: Mapping[str, Any], modality: str, shape: Shape, counts: Counts, root: Path) -> tuple[int, float]:
    """Items of a store, and tokens of an item."""
    tokens = shape.tokens or tokens_per_text(counts.texts, block, root)
    return _items(modality, counts), tokens


def _described(modality: str, items: int, tokens: float, shape: Shape, counts: Counts, size: int) -> str:
    each = f"{tokens:.0f}" if shape.tokens else f"about {tokens:.1f}"
    boxes = " with boxes" if shape.boxes else ""
    source = "" if modality == "image" or shape.tokens else f" (texts {counts.texts.source})"
    what = "images" if modality == "image" else "texts"
    return f"{items:,} {what} x {each} tokens of {shape.width}{boxes}: {in_words(size)}{source}"


def _shards(config: Mapping[str, Any], dataset: str, encoder: str) -> list[str]:
    folder = f"results/{data_of(config, dataset)}/features/{encoder}"
    return [f"{folder}/shard-{number}.h5" for number in range(config["datasets"][dataset]["shards"])]


def _to_fetch(block: Mapping[str, Any], survey: Survey | None, root: Path) -> list[int | None]:
    """Return the sizes of the archives that are still to be fetched; ``None`` for one that the config gives no size."""
    if survey is not None or not block.get("download"):
        return []
    # The data's folder alone says nothing: files of another source, such as regions, may lie in it before the download.
    missing = {
        name: archive for name, archive in block["archives"].items() if not (root / block["root"] / name).is_dir()
    }
    return [archive["size"] for archive in missing.values()]


def _disk(
    config: Mapping[str, Any],
    dataset: str,
    rows: list[str],
    stores: tuple[int, int],
    sizes: list[int | None],
    root: Path,
) -> Iterator[Check]:
    """Compare what will be written with what is free, folder by folder; ``sizes`` are those of archives to fetch."""
    trained = {row: trained_numbers(config, dataset, row) for row in rows}
    frozen = {row: frozen_numbers(config, dataset, row) for row in rows}
    kept = sum(4 * (trained[row] + frozen[row]) for row in rows) * len(folds_of(config, dataset))
    # Beside both moments, the checkpoint and the best weights hold what is frozen, too.
    training = max((4 * (SAVED_COPIES * trained[row] + 2 * frozen[row]) for row in rows), default=0)
    made = f"token stores {in_words(stores[0])}, weights {in_words(kept)} for {len(rows)} rows"
    made += f", {in_words(training)} for each that is in training"
    needs = {"results": (max(0, stores[0] - stores[1]) + kept + training, made)}
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        yield passed("disk needed in resources/", "the archives say their size when they are fetched")
    elif known:
        # JPEGs do not shrink in a zip: unpacked they are as large.
        needs["resources"] = (2 * sum(known), f"archives {in_words(sum(known))}, and as much unpacked")
    yield from _rooms(needs, root)


def _rooms(needs: Mapping[str, tuple[int, str]], root: Path) -> Iterator[Check]:
    """Hold what each folder needs against its disk, which may be another's, too."""
    places = {
        folder: next(path for path in (root / folder, *(root / folder).absolute().parents) if path.exists())
        for folder in needs
    }
    for folder, (needed, said) in needs.items():
        disk = places[folder].stat().st_dev
        together = sum(size for other, (size, _) in needs.items() if places[other].stat().st_dev == disk)
        free = shutil.disk_usage(places[folder]).free
        found = f"{in_words(needed)} more ({said}); {in_words(free)} are free"
        if together > free:
            beside = f"; with the other folders on this disk it is {in_words(together)}" if together > needed else ""
            fix = f"free some space, or put {folder}/ on a larger disk"
            yield warned(f"disk needed in {folder}/", found + beside, fix)
        else:
            yield passed(f"disk needed in {folder}/", found)


def trained_numbers(config: Mapping[str, Any], dataset: str, row: str) -> int:
    """Return about how many numbers a row trains, from the widths that are known; 0 where nothing is.

    A block has 12 H^2 + 13 H. A head of maps has H^2 / 2 + H d on each side, and the gates 8 d^2; other heads are of
    that order.
    """
    block, total = config["models"][row], 0
    if not block["training"]["epochs"]:
        return 0
    for modality in ("image", "text"):
        name = encoder_of(config, dataset, row, modality)
        shape = None if name is None else stored_shape(_backbone(config["encoders"][name]), None, Path())
        if name is not None and shape is not None:
            blocks = config["encoders"][name].get("trainable_blocks", 0)
            total += blocks * _block_numbers(shape.width)
            total += shape.width**2 // 2 + shape.width * block["width"]
            if config["encoders"][name].get("library") == REGION_VIT:  # the projection of its regions
                regions = stored_shape(config["encoders"][store_of(config, name)], None, Path())
                total += shape.width * (regions.width if regions is not None else shape.width)
    return total + (8 * block["width"] ** 2 if block["matching"]["kind"] == "iterative" and block["steps"] > 1 else 0)


def frozen_numbers(config: Mapping[str, Any], dataset: str, row: str) -> int:
    """Return about how many numbers a row holds that do not train: the first blocks of a region ViT."""
    name = encoder_of(config, dataset, row, "image")
    block = {} if name is None else config["encoders"][name]
    shape = stored_shape(_backbone(block), None, Path()) if block.get("library") == REGION_VIT else None
    if shape is None or not config["models"][row]["training"]["epochs"]:
        return 0
    return max(0, _depth(block) - block["trainable_blocks"]) * _block_numbers(shape.width)


def _block_numbers(width: int) -> int:
    return 12 * width**2 + 13 * width


def _depth(block: Mapping[str, Any]) -> int:
    """The blocks of a ViT, by what models of its size have: the word for the size stands in most names."""
    name = str(block["weights"]).lower()
    return next((depth for size, depth in DEPTHS.items() if size in name), 12)


def _backbone(block: Mapping[str, Any]) -> dict[str, Any]:
    """A region ViT as the timm model whose blocks it has."""
    return vit_of(block) if block.get("library") == REGION_VIT else dict(block)


def _memory(
    config: Mapping[str, Any], dataset: str, rows: list[str], counts: Counts, survey: Survey | None, root: Path
) -> Check:
    """The largest training, and scoring."""
    index = INDEX_BYTES * (counts.images + counts.descriptions) + TEXT_BYTES * counts.descriptions
    training = max((_training_bytes(config, dataset, row, counts, survey, root) for row in rows), default=0)
    found = [
        f"about {in_words(training)} for the largest row's weights, gradients and one batch",
        f"{in_words(index)} for ids and texts, whatever the stores' size",
        f"{in_words(counts.score_bytes)} for all scores of {counts.test_images:,} test images",
    ]
    return passed("memory", f"{'; '.join(found)}. torch itself comes on top")


def _training_bytes(
    config: Mapping[str, Any], dataset: str, row: str, counts: Counts, survey: Survey | None, root: Path
) -> int:
    """Weights with Adam's copies, and what one batch keeps for the gradient of the blocks that train."""
    total = 4 * (ADAM_COPIES * trained_numbers(config, dataset, row) + frozen_numbers(config, dataset, row))
    batch = config["models"][row]["training"]["batch_size"]
    for modality in ("image", "text"):
        name = encoder_of(config, dataset, row, modality)
        if name is None:
            continue
        block = config["encoders"][name]
        shape = stored_shape(config["encoders"][store_of(config, name)], survey, root)
        inner = stored_shape(_backbone(block), survey, root)
        if shape is None or inner is None:
            continue
        tokens = shape.tokens or tokens_per_text(counts.texts, block, root)
        # A region ViT hands the gradient through its frozen blocks, too.
        blocks = _depth(block) if block.get("library") == REGION_VIT else block.get("trainable_blocks", 0)
        total += round(batch * tokens * (4 * shape.width + ACTIVATIONS * inner.width * blocks))
    return total
