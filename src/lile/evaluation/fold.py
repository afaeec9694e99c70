"""A trained fold on its own test images: ``metrics.json`` and ``ranks.npz``, or one share of the scores they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lile.evaluation.blocks import BlockStore
from lile.evaluation.grid import Block, Grid
from lile.evaluation.inputs import FoldFiles, FoldInputs, images_with_role, load_fold
from lile.evaluation.metrics import fold_metrics, write_ranks
from lile.evaluation.score import encode_store
from lile.evaluation.stream import Source, score_blocks
from lile.files import digest_of, sha256_of, write_json
from lile.lock import work_lock
from lile.models.weights import load_weights


def evaluate_fold(
    config: Mapping[str, Any], files: FoldFiles, weights: Path, out: Path, work: Path, shares: Sequence[Path] = ()
) -> dict[str, Any]:
    """Score the fold's test images with all their descriptions and write ``metrics.json`` and ``ranks.npz``.

    A run that was killed goes on after its last finished block and ends with the same bytes.

    Args:
        config: as training got it (see :func:`lile.evaluation.inputs.load_fold`).
        files: the fold's inputs.
        weights: the fold's ``model.safetensors``.
        out: the folder of both outputs.
        work: folder of finished blocks, named after config and code by the caller; inside, a folder is named after
            the bytes of weights and inputs, so that no block of other scores is taken. Emptied at the end.
        shares: files written by :func:`score_share`. Blocks that are in none of them are computed here.

    Returns:
        The content of ``metrics.json`` (see :func:`lile.evaluation.metrics.fold_metrics`).

    Raises:
        InputError: inputs that do not fit, a score that is not finite, or another process at work on this fold.
    """
    with work_lock(work / "lock"):
        part = _test_part(config, files, weights, work, shares)
        part.score()
        images = part.inputs.images[part.inputs.images["image_id"].isin(set(part.image_ids))]
        fold = int(config["fold"])
        metrics, ranks = fold_metrics(part.store, part.image_ids, part.text_ids, images, part.descriptions, fold=fold)
        write_ranks(out / "ranks.npz", ranks)
        write_json(out / "metrics.json", metrics)
        part.store.remove()
    return metrics


def score_share(
    config: Mapping[str, Any], files: FoldFiles, weights: Path, out: Path, work: Path, share: int, shares: int
) -> None:
    """Compute one share of a fold's score blocks and write them as one file, for :func:`evaluate_fold` to gather.

    Only the images and texts of these blocks are encoded. The blocks are those of an undivided evaluation, bit by bit.

    Args:
        config: as :func:`evaluate_fold` gets it.
        files: the fold's inputs.
        weights: the fold's ``model.safetensors``.
        out: the file.
        work: folder of finished blocks, one for each share.
        share: which, from 0.
        shares: how many there are. With more of them than blocks some have nothing to do.

    Raises:
        InputError: as :func:`evaluate_fold`, or a share that there is not.
    """
    with work_lock(work / "lock"):
        part = _test_part(config, files, weights, work)
        blocks = part.store.grid.share(share, shares)
        part.score(blocks, f" share {share + 1}/{shares}")
        part.store.pack(out, blocks)
        part.store.remove()


@dataclass(frozen=True)
class _TestPart:
    """What is scored in a fold, and where the blocks are."""

    inputs: FoldInputs
    image_ids: list[str]
    text_ids: list[str]
    descriptions: pd.DataFrame
    store: BlockStore
    label: str

    def score(self, blocks: Sequence[Block] | None = None, which: str = "") -> None:
        """Compute what is not there yet."""
        inputs, model = self.inputs, self.inputs.model

        def image_maps(run: slice) -> Any:
            return encode_store(model.encode_images, inputs.image_store, self.image_ids[run])

        def text_maps(run: slice) -> Any:
            return encode_store(model.encode_texts, inputs.text_store, self.text_ids[run])

        images, texts = Source(self.image_ids, image_maps), Source(self.text_ids, text_maps)
        score_blocks(model.scores, images, texts, self.store, blocks, label=self.label + which)


def _test_part(
    config: Mapping[str, Any], files: FoldFiles, weights: Path, work: Path, shares: Sequence[Path] = ()
) -> _TestPart:
    import torch

    inputs = load_fold(config, files)
    load_weights(inputs.model, weights)
    inputs.model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    image_ids = images_with_role(inputs.folds, int(config["fold"]), "test")
    descriptions = inputs.descriptions_of(image_ids)
    text_ids = descriptions["text_id"].unique().tolist()
    made_from = digest_of([sha256_of(path) for path in (weights, *files.all())])
    return _TestPart(
        inputs=inputs,
        image_ids=image_ids,
        text_ids=text_ids,
        descriptions=descriptions,
        store=BlockStore(work / made_from, Grid(len(image_ids), len(text_ids)), shares),
        label=f"{config['dataset']}/{config['model']} fold {config['fold']} test",
    )
