"""A cross-encoder's fold from stored tokens to ``model.safetensors``, ``history.jsonl`` and ``run.json``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lile.cross.inputs import CrossFiles, CrossParts, load_cross
from lile.cross.loop import CrossTrainer, optimizer_of
from lile.cross.pairs import pair_table
from lile.cross.rescore import match_logits
from lile.cross.shortlist import Reranked, shortlist_pairs
from lile.evaluation.grid import Matrix
from lile.evaluation.inputs import FoldInputs, digests_of, images_with_role, load_members
from lile.evaluation.score import Scorer, score_matrix
from lile.files import digest_of, sha256_of
from lile.lock import work_lock
from lile.models.weights import load_weights
from lile.seeds import seed_for
from lile.training.arithmetic import deterministic, fabric_precision
from lile.training.progress import Progress
from lile.training.shared import ValidationPart, run_record, write_fold

log = logging.getLogger(__name__)


def train_cross_fold(config: Mapping[str, Any], files: CrossFiles, progress: Path, out: Path, code: str) -> None:
    """Train one fold and write its three files into ``out``; resume from ``progress`` if a run was killed there.

    On a CPU a run that was killed and started again ends with the same bytes as one that was not. The epoch is chosen
    by R@sum of the re-ranked validation part; test images are never looked at.

    Args:
        config: ``dataset, model, fold, seed``; ``cross_config`` and ``regions`` (see
            :func:`lile.cross.inputs.load_cross`); ``members`` and ``encoders`` of the row that makes the shortlist
            (see :func:`lile.evaluation.fold.evaluate_fold`).
        files: the fold's inputs.
        progress: folder of checkpoints, named after config and code by the caller; inside, a folder is named after the
            inputs' bytes, so that no training resumes on other data. Emptied at the end.
        out: ``model.safetensors``, ``history.jsonl`` and ``run.json`` are renamed into place here.
        code: fingerprint of the code, for the record.

    Raises:
        InputError: inputs that do not fit, or another process at work on this fold.
    """
    with work_lock(progress / "lock"), deterministic():
        members = load_members(config, files.base, files.base_weights)
        parts = load_cross(config, files, members[0].descriptions)
        digests = digests_of(files.all())
        base = {str(path): sha256_of(path) for path in files.base_weights}
        store = Progress(progress / digest_of([*digests.values(), *base.values()]))
        state = _trainer(config, members, parts, store).run()
        load_weights(parts.model, store.best_weights(state.best_epoch))
        knobs = parts.config.to_dict()
        record = run_record(config, parts.model, "baseline", knobs, parts.encoders, digests, state, code)
        record["shortlist_weights"] = base  # they differ by fold, so they are none of the shared inputs
        write_fold(out, parts.model, record, state)
        store.remove()


def _trainer(
    config: Mapping[str, Any], members: Sequence[FoldInputs], parts: CrossParts, progress: Progress
) -> CrossTrainer:
    from lightning.fabric import Fabric

    settings, fold, first = parts.config.training, int(config["fold"]), members[0]
    fabric = Fabric(accelerator="auto", devices=1, precision=fabric_precision(settings.precision))
    forward, optimizer = fabric.setup(parts.model, optimizer_of(parts.model, settings))
    scorer = Scorer(members, fabric.device)
    seed = seed_for(config["seed"], "train", fold)
    train_ids = images_with_role(first.folds, fold, "train")
    table = pair_table(first.descriptions, train_ids)
    log.info("fold %d trains on %d images with %d descriptions", fold, len(train_ids), len(table))
    return CrossTrainer(
        fabric=fabric,
        model=parts.model,
        forward=forward,
        optimizer=optimizer,
        config=parts.config,
        table=table,
        reader=parts.reader,
        scorer=lambda images, texts: score_matrix(scorer, images, texts, label="hard negatives"),
        validate=_validation(parts, scorer, ValidationPart.of(first, fold, settings.validation_images, seed)),
        progress=progress,
        seed=seed,
        label=f"{config['dataset']}/{config['model']} fold {fold}",
    )


def _validation(parts: CrossParts, scorer: Scorer, part: ValidationPart) -> Callable[[], dict[str, float]]:
    """Return the function that re-ranks the validation part; the shortlists of the other row are made once."""
    ids = part.image_ids, part.text_ids
    base = Matrix(score_matrix(scorer, *ids, label="shortlists of the validation part"))
    pairs_P2: np.ndarray = shortlist_pairs(base, parts.config.shortlist.top)
    log.info("validation re-ranks %d of %d pairs", len(pairs_P2), base.scores_NU.size)

    def validate() -> dict[str, float]:
        logits_P = match_logits(parts.model, parts.reader, pairs_P2, *ids, label="validation")
        return part.figures(Reranked(base, pairs_P2, logits_P))

    return validate
