"""The stage ``pretrain``, from labelled pictures to an encoder's folder with its record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lile.files import digest_of
from lile.lock import work_lock
from lile.models.weights import load_weights
from lile.pretraining.census import Census, take_census
from lile.pretraining.config import PretrainConfig
from lile.pretraining.division import Division, divide
from lile.pretraining.loop import Pretrainer, class_weights, optimizer_of, predict
from lile.pretraining.network import Network, build_network, save_network
from lile.pretraining.pictures import Pictures, Reader, plain_batches, training_batches
from lile.pretraining.record import (
    data_facts,
    held_out_figures,
    write_confusion,
    write_held_out,
    write_record,
    write_report,
)
from lile.pretraining.scores import accuracy, balanced_accuracy, balanced_likelihood, confusion_of
from lile.pretraining.sources import list_pictures
from lile.seeds import seed_for
from lile.training.arithmetic import deterministic, fabric_precision
from lile.training.progress import Progress, write_history

log = logging.getLogger(__name__)

ONE_TRAINING = (
    "One training and one held-out part: the intervals cover other held-out pictures or slides, not another training. "
    "An encoder is judged by the table that uses it"
)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What one pretraining works with."""

    name: str
    config: PretrainConfig
    seed: int
    census: Census
    division: Division
    network: Network
    workers: int

    def reader(self, places: list[int], batches_of: Callable[[int], list[np.ndarray]] | None = None) -> Reader:
        """Return a reader of some pictures; without ``batches_of`` all of them in order."""
        pictures = Pictures(
            paths=[self.census.items[place].path for place in places],
            labels=[self.census.labels[place] for place in places],
            transform=self.network.transform,
            augmentation=self.config.augmentation,
            seed=self.seed,
        )
        plain = plain_batches(len(places), self.config.training.batch_size)
        return Reader(pictures, batches_of or (lambda epoch: plain), self.workers)


def pretrain(config: Mapping[str, Any], progress: Path, out: Path, threads: int, code: str) -> None:
    """Train an encoder by classification and write its folder; resume from ``progress`` if a run was killed there.

    On a CPU a run that was killed and started again ends with the same weights, to the byte, as one that was not.

    Args:
        config: ``name``, ``seed`` and ``pretraining``, a block of the config.
        progress: folder of checkpoints, named after config and code by the caller; inside, a folder is named after the
            pictures' and the start's bytes, so that no training resumes on other data. Emptied at the end.
        out: gets config.json, model.safetensors, record.json, history.jsonl, held_out.csv, confusion.csv and .png and
            report.csv.
        threads: of which some decode pictures: all beside a GPU, one in four without.
        code: fingerprint of the code, for the record.

    Raises:
        InputError: data or weights that cannot be used, or another process at work on this pretraining.
    """
    with work_lock(progress / "lock"), deterministic():
        torch.set_num_threads(threads)
        job = _job(config, threads)
        store = Progress(progress / digest_of([job.census.digest, job.network.start["weights_digest"]]))
        trainer = _trainer(job, store)
        state = trainer.run()
        load_weights(job.network.model, store.best_weights(state.best_epoch))
        held_out = predict(
            job.network.model, trainer.forward, job.network.transform, job.reader(job.division.held_out),
            trainer.fabric.device,
        )  # fmt: skip
        figures = held_out_figures(job.census, job.division, held_out, job.seed)
        _write(out, job, held_out, figures)
        write_history(out / "history.jsonl", state.history)
        write_record(out, config, _content(job, figures), state, code)
        store.remove()


def _job(config: Mapping[str, Any], threads: int) -> _Job:
    """Look at the data, divide them, and build the network."""
    knobs = PretrainConfig.from_dict(config["pretraining"])
    seed = seed_for(config["seed"], "pretrain", config["name"])
    census = take_census(list_pictures(knobs.data), knobs.data, threads)
    division = divide(census, knobs.data, seed, validation=knobs.training.patience is not None)
    network = build_network(knobs, len(census.classes), config["seed"])
    workers = threads if torch.cuda.is_available() else threads // 4
    return _Job(
        name=config["name"], config=knobs, seed=seed, census=census, division=division, network=network,
        workers=workers,
    )  # fmt: skip


def _trainer(job: _Job, store: Progress) -> Pretrainer:
    from lightning.fabric import Fabric

    settings, places = job.config.training, job.division.train
    fabric = Fabric(accelerator="auto", devices=1, precision=fabric_precision(settings.precision))
    forward, optimizer = fabric.setup(job.network.model, optimizer_of(job.network.model, settings))
    labels = [job.census.labels[place] for place in places]

    def batches_of(epoch: int) -> list[np.ndarray]:
        order = seed_for(job.seed, "order", epoch)
        return training_batches(labels, settings.batch_size, settings.class_balance, order)

    weighted = settings.class_balance == "weighted_loss"
    weights_C = class_weights(labels, len(job.census.classes)).to(fabric.device) if weighted else None
    log.info("%s trains on %d pictures, holds out %d", job.name, len(places), len(job.division.held_out))
    return Pretrainer(
        fabric=fabric,
        model=job.network.model,
        forward=forward,
        optimizer=optimizer,
        validate=_validation(job, forward, fabric.device),
        progress=store,
        seed=job.seed,
        label=job.name,
        config=settings,
        transform=job.network.transform,
        reader=job.reader(places, batches_of),
        steps=len(batches_of(1)),
        weights_C=weights_C,
    )


def _validation(job: _Job, forward: Any, device: torch.device) -> Callable[[], dict[str, float]]:
    """Return the function that scores the validation part; where there is none, it gives no figure."""
    places = job.division.validation
    if not places:
        return dict
    reader, labels = job.reader(places), [job.census.labels[place] for place in places]

    def validate() -> dict[str, float]:
        found_NC = predict(job.network.model, forward, job.network.transform, reader, device)
        matrix_CC = confusion_of(labels, found_NC.argmax(1).tolist(), len(job.census.classes))
        return {
            "accuracy": accuracy(matrix_CC),
            "balanced_accuracy": balanced_accuracy(matrix_CC),
            "balanced_likelihood": balanced_likelihood(found_NC, labels),
        }

    return validate


def _write(out: Path, job: _Job, probabilities_NC: np.ndarray, figures: Mapping[str, Any]) -> None:
    """Write all but history and record."""
    data = job.config.data
    count = f"{len(job.census.items):,} pictures in {len(job.census.classes)} classes"
    save_network(out, job.network, job.census.classes, f"{job.name} ({count}; start: {job.config.start})")
    write_report(out, job.census)
    write_held_out(out, job.census, job.division, probabilities_NC)
    said = ". ".join([*([data.note.rstrip(".")] if data.note else []), *job.division.warnings, ONE_TRAINING])
    matrix_CC = np.asarray(figures["confusion"])
    write_confusion(out, job.name, matrix_CC, job.census, figures, f"{said}.")


def _content(job: _Job, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the record says of this pretraining's own."""
    model, knobs = job.network.model, job.config.to_dict()
    del knobs["data"]["download"]  # how the pictures came is none of the stage's business
    return {
        "config": knobs,
        "start": job.network.start,
        "data": data_facts(job.census, job.division, job.config),
        "held_out": figures,
        "says": ONE_TRAINING,
        "seeds": {
            "of": "lile.seeds.seed_for(this seed, purpose, ...)",
            "pretraining": job.seed,
            "purposes": ["held out", "validation", "order, epoch", "augment, epoch, picture", "dropout, epoch"],
        },
        "parameters": sum(p.numel() for p in model.parameters()),
        "parameters_trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }
