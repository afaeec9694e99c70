# What all of the workflow shares. Nothing heavy is imported here, for every job parses this again.
import os
import re
import shutil
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from lile import lists, stage_files, stages
from lile.config import prepare
from lile.data import nct_crc
from lile.data.archives import ARCHIVES
from lile.errors import InputError
from lile.fingerprint import code_of

# Paths as short as they can be, so that a printed command can be read and pasted.
checkout = Path(workflow.basedir)
scripts = os.path.relpath(checkout / "workflow" / "scripts")
python = min(sys.executable, os.path.relpath(sys.executable), key=len)

# A machine without a card runs folds side by side; profiles/slurm asks for one itself.
gpus = 1 if shutil.which("nvidia-smi") else 0

try:
    config = prepare(config)
except InputError as error:
    raise WorkflowError(str(error)) from None


# Rows whose scores come straight from trained weights.
scored_rows = [
    *lists.models_of_kind(config, "trained"),
    *lists.models_of_kind(config, "ensemble"),
]

# A params function that takes `threads`, too, is left out by Snakemake when it compares parameters with the last run's.


def any_of(names):
    """A regular expression for these names; for none of them, one that matches nothing."""
    return "|".join(re.escape(name) for name in sorted(names)) or "(?!)"


def script(name):
    """A params function: how a script is run here. Not compared, so another machine plans the same jobs."""
    return lambda wildcards, threads: f"{python} {scripts}/{name}"


def slice_of(stage):
    """A params function: what the stage reads of the config, as one string."""
    return lambda wildcards: stages.slice_for(stage, config, **dict(wildcards.items()))


def unwatched_slice_of(stage):
    """The same, not compared with the last run's."""
    return lambda wildcards, threads: stages.slice_for(
        stage, config, **dict(wildcards.items())
    )


def code(name):
    """The fingerprint of a script and of every module of ours behind it."""
    return code_of(checkout / "workflow" / "scripts" / name, checkout)


def check_command(wildcards, threads):
    """A params function: the whole command of the check, not compared."""
    cfg = shlex.quote(stages.slice_for("check", config, dataset=wildcards.dataset))
    out, log = (
        f"results/{wildcards.dataset}/check.txt",
        f"results/logs/check/{wildcards.dataset}.log",
    )
    return f"{python} {scripts}/check.py --config-json {cfg} --out {out} --log {log}"


def sources(wildcards):
    """An input function: the files that the dataset's records are read from."""
    return stage_files.source_files(config, wildcards.dataset)


def keep_archives(wildcards, threads):
    """A params function: whether archives stay beside what they hold. Not compared: it changes no file that is read."""
    return "--keep" if config["datasets"][wildcards.dataset]["keep_archives"] else ""


def shards(wildcards):
    """A params function: how many files the tokens of a dataset are divided into."""
    return len(lists.shards_of(config, wildcards.dataset))


def stores(modality):
    """An input function: the token stores that a row reads of this modality."""
    return lambda wildcards: stage_files.stores_of(
        config, wildcards.dataset, wildcards.model, modality
    )


def encoder_files(wildcards):
    """An input function: the local weights of the encoder whose tokens are made."""
    return stage_files.encoder_files(config, wildcards.encoder)


def region_files(wildcards):
    """An input function: the files that published regions are read from."""
    return stage_files.token_files(config, wildcards.dataset, wildcards.encoder)


def pretrain_files(wildcards):
    """An input function: the weights that a pretraining starts from, and its table of pictures."""
    return stage_files.pretrain_files(config, wildcards.pretraining)


def row_encoder_files(wildcards):
    """An input function: the local weights of the encoders of a row."""
    names = [
        lists.encoder_of(config, wildcards.dataset, wildcards.model, modality)
        for modality in ("image", "text")
    ]
    return [
        path
        for name in names
        if name
        for path in stage_files.encoder_files(config, name)
    ]


def row_weights(wildcards):
    """An input function: the weights that score a row's fold; several for an ensemble."""
    return stage_files.weights_of(
        config, wildcards.dataset, wildcards.model, wildcards.fold
    )


def member_runs(wildcards):
    """An input function: the records of an ensemble's members, of one fold."""
    return [
        f"results/{wildcards.dataset}/{member}/fold-{wildcards.fold}/run.json"
        for member in lists.members_of(config, wildcards.model)
    ]


def fold_files(name):
    """An input function: this file of every fold of a dataset and model."""
    return lambda wildcards: [
        f"results/{wildcards.dataset}/{wildcards.model}/fold-{fold}/{name}"
        for fold in lists.folds_of(config, wildcards.dataset)
    ]


def run_files(name):
    """An input function: this file of every fold of every model of a table."""
    return lambda wildcards: [
        f"results/{dataset}/{model}/fold-{fold}/{name}"
        for dataset, model, fold in lists.table_runs(config, wildcards.table)
    ]


def receipts(wildcards):
    """An input function: that every model of a table is in MLflow."""
    table = config["tables"][wildcards.table]
    return [
        f"results/{table['dataset']}/{model}/mlflow.json" for model in table["models"]
    ]


def text_encoder_files(wildcards):
    """An input function: the local files of a dataset's own text encoder."""
    return stage_files.encoder_files(
        config, config["datasets"][wildcards.dataset]["encoders"]["text"]
    )


def caption_lengths(wildcards):
    """An input function: the picture of the captions of a table's dataset."""
    dataset = lists.data_of(config, config["tables"][wildcards.table]["dataset"])
    return f"results/{dataset}/data/caption_lengths.png"


def published(wildcards):
    """An input function: the published figures of a table, if it has any."""
    return stage_files.published_files(config, wildcards.table)


def data_file(name):
    """An input function: this file of the dataset's records, which may lie with another dataset."""
    return (
        lambda wildcards: f"results/{lists.data_of(config, wildcards.dataset)}/data/{name}"
    )


def kept_together(wildcards):
    """An input function: what must stay in one fold, where the dataset asks for that."""
    folds = config["datasets"][wildcards.dataset]["folds"]
    together = folds["near_duplicates"] == "together"
    return [data_file("duplicates.csv")(wildcards)] if together else []


def leaks(wildcards):
    """An input function: how many test images have a twin in training."""
    return f"results/{config['tables'][wildcards.table]['dataset']}/data/leaks.json"


def share_files(wildcards):
    """An input function: the score blocks that other jobs compute for a fold, if its dataset asks for such jobs."""
    shares = lists.score_shares(config, wildcards.dataset)
    run = f"{wildcards.dataset}.{wildcards.model}.{wildcards.fold}"
    return [
        f"work/evaluate/{run}/share-{share}-of-{len(shares)}.npz" for share in shares
    ]


def region_encoder_files(wildcards):
    """An input function: the local weights of the encoder whose tokens a cross-encoder reads as regions."""
    return stage_files.encoder_files(
        config, config["datasets"][wildcards.dataset]["encoders"]["image"]
    )


def region_stores(wildcards):
    """An input function: the tokens that a cross-encoder reads as regions."""
    return stage_files.dataset_stores(config, wildcards.dataset, "image")


def cross_files(wildcards):
    """An input function: the local files that a cross-encoder's BERT is loaded from."""
    return stage_files.bert_files(config, wildcards.model)


def tag_files(wildcards):
    """An input function: the object tags that a cross-encoder reads, if any."""
    tags = config["models"][wildcards.model]["tags"]
    return [] if tags is None else [tags]


def named_folder(kind, stage, name, run, wildcards):
    """A folder that outlives a killed job: named by config and code, so that no other job goes on from it."""
    cfg = stages.slice_for(stage, config, **dict(wildcards.items()))
    return f"work/{kind}/{run}/{stages.short_digest(cfg)}-{code(name)[:8]}"


def work_folder(kind, stage, name, parts=("dataset", "model", "fold")):
    """A params function: such a folder for a run of these wildcards. Not compared: it changes no result."""

    def folder(wildcards, threads):
        run = ".".join(getattr(wildcards, part) for part in parts)
        return named_folder(kind, stage, name, run, wildcards)

    return folder


def tokens_folder(name):
    """A params function: the folder of a job of tokens. Not compared."""
    return work_folder("tokens", "tokens", name, ("dataset", "encoder", "shard"))


def blocks_folder(wildcards, threads):
    """The folder of an evaluation, or of a job's share of it. Not compared."""
    whole = work_folder("evaluate", "evaluate", "evaluate_fold.py")(wildcards, threads)
    share = (
        f"-share-{wildcards.share}-of-{wildcards.shares}"
        if hasattr(wildcards, "share")
        else ""
    )
    return f"{whole}{share}"


def progress(wildcards):
    """The folder of a training; it is compared, as it has always been."""
    run = f"{wildcards.dataset}.{wildcards.model}.{wildcards.fold}"
    return named_folder("train", "train", "train_fold.py", run, wildcards)
