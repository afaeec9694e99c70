# One job per fold, resumable; an ensemble's fold is only recorded. No `retries:` here: under SLURM it would multiply with the command line's.


rule train_fold:
    input:
        row_encoder_files,
        images_store=stores("image"),
        texts_store=stores("text"),
        images=data_file("images.csv"),
        descriptions=data_file("descriptions.csv"),
        folds="results/{dataset}/data/folds.csv",
    output:
        weights="results/{dataset}/{model}/fold-{fold}/model.safetensors",
        history="results/{dataset}/{model}/fold-{fold}/history.jsonl",
        run="results/{dataset}/{model}/fold-{fold}/run.json",
    log:
        "results/logs/train_fold/{dataset}.{model}.{fold}.log",
    benchmark:
        "results/benchmarks/train_fold/{dataset}.{model}.{fold}.tsv"
    wildcard_constraints:
        model=any_of(lists.models_of_kind(config, "trained")),
    threads: 1  # its matrices are small: on several threads they wait; folds run side by side instead
    resources:
        gpu=gpus,
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime=lambda wildcards, attempt: 480 * attempt,
    params:
        script=script("train_fold.py"),
        cfg=slice_of("train"),
        code=code("train_fold.py"),
        # Snakemake deletes outputs when it starts a job again; checkpoints therefore live outside of them.
        progress=progress,
    shell:
        "{params.script} --config-json {params.cfg:q}"
        " --images-store {input.images_store:q} --texts-store {input.texts_store:q}"
        " --images {input.images:q} --descriptions {input.descriptions:q} --folds {input.folds:q}"
        " --progress {params.progress:q} --code {params.code}"
        " --out-dir results/{wildcards.dataset}/{wildcards.model}/fold-{wildcards.fold} --threads {threads} --log {log:q}"


rule combine_fold:
    input:
        member_runs,
    output:
        history="results/{dataset}/{model}/fold-{fold}/history.jsonl",
        run="results/{dataset}/{model}/fold-{fold}/run.json",
    log:
        "results/logs/combine_fold/{dataset}.{model}.{fold}.log",
    benchmark:
        "results/benchmarks/combine_fold/{dataset}.{model}.{fold}.tsv"
    wildcard_constraints:
        model=any_of(lists.models_of_kind(config, "ensemble")),
    localrule: True
    params:
        script=script("combine_fold.py"),
        cfg=slice_of("combine"),
        code=code("combine_fold.py"),
    shell:
        "{params.script} --config-json {params.cfg:q} --runs {input:q} --code {params.code}"
        " --out-dir results/{wildcards.dataset}/{wildcards.model}/fold-{wildcards.fold} --log {log:q}"
