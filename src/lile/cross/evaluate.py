"""A trained cross-encoder on its fold's test images: another row's scores, its shortlists scored again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lile.cross.inputs import CrossFiles, load_cross
from lile.cross.rescore import Runs, match_logits
from lile.cross.shortlist import Reranked, shortlist_pairs
from lile.evaluation.consecutive import check_block_images
from lile.evaluation.fold import held_out
from lile.evaluation.inputs import digests_of
from lile.evaluation.outputs import write_evaluation
from lile.evaluation.score import compute_device
from lile.files import digest_of, sha256_of
from lile.lock import work_lock
from lile.models.weights import load_weights

log = logging.getLogger(__name__)


def evaluate_cross_fold(
    config: Mapping[str, Any], files: CrossFiles, weights: Path, out: Path, work: Path
) -> dict[str, Any]:
    """Re-rank the fold's test shortlists and write ``metrics.json``, ``ranks.npz`` and ``trec/``.

    All pairs get the other row's score; those among an image's best texts or a text's best images (``shortlist.top`` of
    each) are read again by the cross-encoder. See :class:`lile.cross.shortlist.Reranked` for the final scores. A run
    that was killed goes on after its last finished block or run of pairs and ends with the same bytes.

    Args:
        config: as training got it (see :func:`lile.cross.train.train_cross_fold`), and ``evaluation`` (see
            :func:`lile.evaluation.outputs.write_evaluation`).
        files: the fold's inputs.
        weights: the fold's ``model.safetensors``.
        out: the folder of all outputs.
        work: folder of finished scores, named after config and code by the caller; inside, folders are named after the
            bytes of weights and inputs. Emptied at the end.

    Returns:
        The content of ``metrics.json`` (see :func:`lile.evaluation.metrics.fold_metrics`).

    Raises:
        InputError: inputs that do not fit, a score that is not finite, or another process at work on this fold.
    """
    with work_lock(work / "lock"):
        part = held_out(config, files.base, files.base_weights, work)
        check_block_images(config["evaluation"]["block_images"], len(part.image_ids))
        parts = load_cross(config, files, part.descriptions)
        load_weights(parts.model, weights)
        parts.model.to(compute_device()).eval()
        part.score()
        pairs_P2 = shortlist_pairs(part.store, parts.config.shortlist.top)
        log.info(
            "%s: %d of %d pairs are scored again",
            part.label,
            len(pairs_P2),
            part.store.grid.images * part.store.grid.texts,
        )
        made_from = [*map(sha256_of, (weights, *files.base_weights)), *digests_of(files.all()).values()]
        runs = Runs(work / f"{digest_of(made_from)}-logits")
        logits_P = match_logits(
            parts.model, parts.reader, pairs_P2, part.image_ids, part.text_ids, label=part.label, runs=runs
        )
        metrics = write_evaluation(part, Reranked(part.store, pairs_P2, logits_P), config, out)
        runs.remove()
        part.store.remove()
    return metrics
