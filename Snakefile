# From images and captions to a table of recalls: results/tables/<name>.csv for every table of the config.
#   snakemake --cores all results/tables/demo.csv
# docs: README.md; what a config may hold: config/README.md; the rules: workflow/rules/.
import os

from snakemake.utils import min_version

min_version("9.10")


# The shipped config lies beside this file, also when the work happens elsewhere (--directory).
configfile: os.path.join(workflow.basedir, "config", "config.yaml")


include: "workflow/rules/common.smk"


wildcard_constraints:
    dataset=any_of(config["datasets"]),
    archive=any_of(name for archives in ARCHIVES.values() for name in archives),
    encoder=any_of(config["encoders"]),
    model=any_of(config["models"]),
    pretraining=any_of(config["pretraining"]),
    patches=any_of(nct_crc.PARTS),
    table=any_of(config["tables"]),
    fold=r"\d+",
    shard=r"\d+",
    share=r"\d+",
    shares=r"\d+",


rule all:
    input:
        "results/tables/demo.csv",


include: "workflow/rules/data.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/folds.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/cross.smk"
include: "workflow/rules/tracking.smk"
include: "workflow/rules/tables.smk"
