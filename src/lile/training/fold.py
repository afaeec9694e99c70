"""One fold from stored tokens to ``model.safetensors``, ``history.jsonl`` and ``run.json``."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from lile.evaluation.inputs import FoldFiles, FoldInputs, digests_of, images_with_role, load_fold
from lile.evaluation.score import Scorer, compute_device, score_matrix
from lile.files import digest_of
from lile.lock import work_lock
from lile.models.weights import load_weights
from lile.seeds import seed_for
from lile.training.arithmetic import deterministic, fabric_precision
from lile.training.loop import Trainer
from lile.training.pairs import Batch, batch_indices, batches, pair_set
from lile.training.progress import Progress, State
from lile.training.schedule import optimizer_of
from lile.training.shared import ValidationPart, run_record, write_fold

log = logging.getLogger(__name__)


def train_fold(config: Mapping[str, Any], files: FoldFiles, progress: Path, out: Path, code: str) -> None:
    """Train one fold and write its three files into ``out``; resume from ``progress`` if a run was killed there.

    On a CPU a run that was killed and started again ends with the same bytes as one that was not.

    Args:
        config: ``dataset, model, fold, seed, model_config, encoders`` (see :func:`lile.evaluation.inputs.load_fold`).
        files: the fold's inputs.
        progress: folder of checkpoints, named after config and code by the caller; inside, a folder is named after the
            inputs' bytes, so that no training resumes on other data. Emptied at the end.
        out: ``model.safetensors``, ``history.jsonl`` and ``run.json`` are renamed into place here.
        code: fingerprint of the code, for the record.

    Raises:
        InputError: inputs that do not fit, or another process at work on this fold.
    """
    with work_lock(progress / "lock"), deterministic():
        inputs = load_fold(config, files)
        digests = digests_of(files.all())
        store = Progress(progress / digest_of(list(digests.values())))
        state = _trained(config, inputs, store)
        model = inputs.model
        knobs = model.config.to_dict()
        record = run_record(config, model, model.config.preset, knobs, inputs.encoders, digests, state, code)
        write_fold(out, model, record, state)
        store.remove()


def _trained(config: Mapping[str, Any], inputs: FoldInputs, store: Progress) -> State:
    """Train the model, and leave the best epoch's weights in it. A row without training is validated as it is."""
    if inputs.model.config.training.epochs == 0:
        started = time.time()
        device = compute_device()
        inputs.model.to(device)
        validation = _validation(inputs, config["fold"], _seed(config), device)()
        entry = {"epoch": 0, "time_unix": time.time(), "seconds": time.time() - started, "validation": validation}
        return State(history=[{**entry, "best": True}], best_value=validation["Rsum"], started_unix=started)
    state = _trainer(config, inputs, store).run()
    load_weights(inputs.model, store.best_weights(state.best_epoch))
    return state


def _seed(config: Mapping[str, Any]) -> int:
    """Return the fold's own seed."""
    return seed_for(config["seed"], "train", config["fold"])


def _trainer(config: Mapping[str, Any], inputs: FoldInputs, progress: Progress) -> Trainer:
    from lightning.fabric import Fabric

    model, knobs = inputs.model, inputs.model.config
    fabric = Fabric(accelerator="auto", devices=1, precision=fabric_precision(knobs.training.precision))
    optimizer = optimizer_of(model.parameters(), knobs.training)
    forward, optimizer = fabric.setup(model, optimizer)
    seed = _seed(config)
    return Trainer(
        fabric=fabric,
        model=model,
        forward=forward,
        optimizer=optimizer,
        config=knobs,
        epoch_batches=_epoch_batches(inputs, config["fold"], seed, fabric.device),
        validate=_validation(inputs, config["fold"], seed, fabric.device),
        progress=progress,
        seed=seed,
        label=f"{config['dataset']}/{config['model']} fold {config['fold']}",
    )


def _epoch_batches(
    inputs: FoldInputs, fold: int, seed: int, device: torch.device
) -> Callable[[int], tuple[Iterator[Batch], int]]:
    train_ids = images_with_role(inputs.folds, fold, "train")
    pairs = pair_set(inputs.descriptions, train_ids, inputs.image_store, inputs.text_store)
    size = inputs.model.config.training.batch_size
    log.info("fold %d trains on %d images with %d descriptions", fold, len(train_ids), len(pairs))

    def epoch_batches(epoch: int) -> tuple[Iterator[Batch], int]:
        order = seed_for(seed, "order", epoch)
        epoch_batches = batches(pairs, inputs.image_store, inputs.text_store, size, order, device)
        return epoch_batches, len(batch_indices(len(pairs), size, order))

    return epoch_batches


def _validation(inputs: FoldInputs, fold: int, seed: int, device: torch.device) -> Callable[[], dict[str, float]]:
    """Return the function that scores the fold's validation images, own-caption protocol (never the test fold)."""
    settings = inputs.model.config.training
    part = ValidationPart.of(inputs, fold, settings.validation_images, seed)

    def validate() -> dict[str, float]:
        scorer = Scorer([inputs], device)
        return part.figures(score_matrix(scorer, part.image_ids, part.text_ids, label="validation"))

    return validate
