"""What a training on a store of COCO's shape comes to hold; the parts of it that run in processes of their own.

Shapes: n images with five captions each; L regions of an image, H their width; m maps, d joint width.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import pandas as pd
import torch

from benchmarks.child import Peak
from benchmarks.token_files import drawn, items
from lile.data.records import read_descriptions
from lile.features.parts import PassThrough
from lile.features.shard_writer import write_store
from lile.features.store import TokenStore
from lile.models.config import ModelConfig
from lile.models.losses import negatives_of, triplet_loss
from lile.models.model import RetrievalModel, SideParts
from lile.training.pairs import Batch, batches, pair_set

CAPTIONS, WORDS, TEXT_WIDTH = 5, 13, 64  # the texts' own store is kept narrow: its index is as long as COCO's


def make(folder: str, images: int, length: int, width: int) -> dict[str, float]:
    """Write both stores and ``descriptions.csv`` into ``folder``; return the size of the images' store and the time."""
    started = time.perf_counter()
    path = Path(folder) / "images.h5"
    write_store(path, items(drawn(length, width), 0, images), {})
    seconds = time.perf_counter() - started
    texts = drawn(WORDS, TEXT_WIDTH)
    count = CAPTIONS * images
    write_store(Path(folder) / "texts.h5", ((f"{n:016x}", texts[n % len(texts)]) for n in range(count)), {})
    image_ids = [f"coco:{n // CAPTIONS}" for n in range(count)]
    columns = {"description_id": [f"coco:{n}#0" for n in range(count)]}
    columns["caption_id"] = [f"coco:{n}" for n in range(count)]
    said = [f"A drawn caption of ordinary length, the number {n} of all of them" for n in range(count)]
    columns |= {"image_id": image_ids, "group": image_ids, "text": said, "text_id": [f"{n:016x}" for n in range(count)]}
    pd.DataFrame(columns).to_csv(Path(folder) / "descriptions.csv", index=False)
    return {"bytes": path.stat().st_size, "seconds": seconds}


def epoch(folder: str, images: int, shape: list[int], batch: int, trained: int, read: int | None) -> dict[str, float]:
    """Open what ``make`` wrote, read one epoch's batches and train on the first of them.

    Args:
        folder: of ``make``.
        images: as many as ``make`` was told.
        shape: m, d.
        batch: pairs of a batch.
        trained: batches that are trained on, too.
        read: batches that are read; None for a whole epoch.

    Returns:
        ``held`` bytes of the whole process when its tables and stores are open, ``reading`` at most while all batches
        are read, ``training`` at most over all; ``seconds`` of the reading and its ``batches``.
    """
    torch.manual_seed(0)
    image_store, text_store = (TokenStore([Path(folder) / name]) for name in ("images.h5", "texts.h5"))
    descriptions = read_descriptions(Path(folder) / "descriptions.csv")
    pairs = pair_set(descriptions, [f"coco:{n}" for n in range(images)], image_store, text_store)
    peak = Peak()
    held, started = peak.before, time.perf_counter()
    device = torch.device("cpu")
    count = 0
    for _ in islice(batches(pairs, image_store, text_store, batch, 1, device), read):
        count += 1
    seconds, reading = time.perf_counter() - started, peak.total()
    _train(islice(batches(pairs, image_store, text_store, batch, 2, device), trained), image_store.width, shape)
    return {"held": held, "reading": reading, "training": peak.total(), "seconds": seconds, "batches": count}


def _train(taken: Iterable[Batch], width: int, shape: list[int]) -> None:
    """Take one step of the optimiser on each batch."""
    config = ModelConfig.from_dict({"maps": shape[0], "width": shape[1]})
    model = RetrievalModel(config, SideParts(PassThrough(), width), SideParts(PassThrough(), TEXT_WIDTH))
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    for batch in taken:
        scores_BB, _ = model(batch.image_tokens, batch.image_keep, batch.text_tokens, batch.text_keep)
        negatives_BB = negatives_of(batch.groups, batch.images, batch.texts)
        loss = triplet_loss(scores_BB, negatives_BB, config.loss.margin)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
