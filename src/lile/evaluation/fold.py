"""A trained fold on its own test images: figures and files of its scores, or one share of the scores they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lile.evaluation.blocks import BlockStore
from lile.evaluation.consecutive import check_block_images
from lile.evaluation.grid import Block, Grid
from lile.evaluation.inputs import FoldFiles, FoldInputs, digests_of, images_with_role, load_members
from lile.evaluation.outputs import write_evaluation
from lile.evaluation.score import Scorer, compute_device
from lile.evaluation.stream import Source, score_blocks
from lile.files import digest_of, sha256_of
from lile.lock import work_lock


def evaluate_fold(
    config: Mapping[str, Any],
    files: FoldFiles,
    weights: Sequence[Path],
    out: Path,
    work: Path,
    shares: Sequence[Path] = (),
) -> dict[str, Any]:
    """Score the fold's test images with all their descriptions; write ``metrics.json``, ``ranks.npz``, ``trec/``.

    A run that was killed goes on after its last finished block and ends with the same bytes.

    Args:
        config: ``dataset, model, fold, seed, members, encoders`` (see :func:`lile.evaluation.inputs.load_fold`);
            ``members`` lists the model's own ``model_config``, or those of an ensemble's members; and ``evaluation``
            (see :func:`lile.evaluation.outputs.write_evaluation`).
        files: the fold's inputs.
        weights: the fold's ``model.safetensors``, one for each of the members.
        out: the folder of all outputs.
        work: folder of finished blocks, named after config and code by the caller; inside, a folder is named after
            the bytes of weights and inputs, so that no block of other scores is taken. Emptied at the end.
        shares: files written by :func:`score_share`. Blocks that are in none of them are computed here.

    Returns:
        The content of ``metrics.json`` (see :func:`lile.evaluation.metrics.fold_metrics`).

    Raises:
        InputError: inputs that do not fit, a score that is not finite, too few images for a block (before anything is
            scored), or another process at work on this fold.
    """
    with work_lock(work / "lock"):
        part = held_out(config, files, weights, work, shares)
        check_block_images(config["evaluation"]["block_images"], len(part.image_ids))
        part.score()
        metrics = write_evaluation(part, part.store, config, out)
        part.store.remove()
    return metrics


def score_share(
    config: Mapping[str, Any],
    files: FoldFiles,
    weights: Sequence[Path],
    out: Path,
    work: Path,
    share: int,
    shares: int,
) -> None:
    """Compute one share of a fold's score blocks and write them as one file, for :func:`evaluate_fold` to gather.

    Only the images and texts of these blocks are encoded. The blocks are those of an undivided evaluation, bit by bit.

    Args:
        config: as :func:`evaluate_fold` gets it.
        files: the fold's inputs.
        weights: as :func:`evaluate_fold` gets them.
        out: the file.
        work: folder of finished blocks, one for each share.
        share: which, from 0.
        shares: how many there are. With more of them than blocks some have nothing to do.

    Raises:
        InputError: as :func:`evaluate_fold`, or a share that there is not.
    """
    with work_lock(work / "lock"):
        part = held_out(config, files, weights, work)
        blocks = part.store.grid.share(share, shares)
        part.score(blocks, f" share {share + 1}/{shares}")
        part.store.pack(out, blocks)
        part.store.remove()


@dataclass(frozen=True)
class HeldOut:
    """What is scored in a fold, and where the blocks are."""

    members: Sequence[FoldInputs]
    """The model; or an ensemble's."""
    image_ids: list[str]
    text_ids: list[str]
    images: pd.DataFrame
    """Rows of images.csv, of exactly these images."""
    descriptions: pd.DataFrame
    store: BlockStore
    label: str

    def score(self, blocks: Sequence[Block] | None = None, which: str = "") -> None:
        """Compute what is not there yet."""
        scorer = Scorer(self.members, compute_device())
        images = Source(self.image_ids, lambda run: scorer.images(self.image_ids[run]))
        texts = Source(self.text_ids, lambda run: scorer.texts(self.text_ids[run]))
        score_blocks(scorer.scores, images, texts, self.store, blocks, label=self.label + which)


def held_out(
    config: Mapping[str, Any], files: FoldFiles, weights: Sequence[Path], work: Path, shares: Sequence[Path] = ()
) -> HeldOut:
    """Return the fold's test part, its models loaded; arguments as :func:`evaluate_fold` gets them."""
    members = load_members(config, files, weights)
    first = members[0]
    image_ids = images_with_role(first.folds, int(config["fold"]), "test")
    descriptions = first.descriptions_of(image_ids)
    text_ids = descriptions["text_id"].unique().tolist()
    made_from = digest_of([*map(sha256_of, weights), *digests_of(files.all()).values()])
    return HeldOut(
        members=members,
        image_ids=image_ids,
        text_ids=text_ids,
        images=first.images[first.images["image_id"].isin(set(image_ids))],
        descriptions=descriptions,
        store=BlockStore(work / made_from, Grid(len(image_ids), len(text_ids)), shares),
        label=f"{config['dataset']}/{config['model']} fold {config['fold']} test",
    )
