# Ranks and recalls of a fold's test images, for both protocols; where asked for, scored by several jobs.


rule score_blocks:
    input:
        row_encoder_files,
        weights=row_weights,
        images_store=stores("image"),
        texts_store=stores("text"),
        images=data_file("images.csv"),
        descriptions=data_file("descriptions.csv"),
        folds="results/{dataset}/data/folds.csv",
    output:
        temp("work/evaluate/{dataset}.{model}.{fold}/share-{share}-of-{shares}.npz"),
    log:
        "results/logs/score_blocks/{dataset}.{model}.{fold}.{share}-of-{shares}.log",
    benchmark:
        "results/benchmarks/score_blocks/{dataset}.{model}.{fold}.{share}-of-{shares}.tsv"
    wildcard_constraints:
        model=any_of(scored_rows),
    threads: 1  # as evaluate_fold: with as many threads the scores have the same bits
    resources:
        gpu=gpus,
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        script=script("score_blocks.py"),
        cfg=slice_of("evaluate"),
        code=code("score_blocks.py"),
        work=blocks_folder,
    shell:
        "{params.script} --config-json {params.cfg:q}"
        " --images-store {input.images_store:q} --texts-store {input.texts_store:q}"
        " --images {input.images:q} --descriptions {input.descriptions:q} --folds {input.folds:q}"
        " --weights {input.weights:q}"
        " --share {wildcards.share} --of {wildcards.shares} --work {params.work:q}"
        " --out {output:q} --threads {threads} --log {log:q}"


rule evaluate_fold:
    input:
        row_encoder_files,
        weights=row_weights,
        run="results/{dataset}/{model}/fold-{fold}/run.json",
        images_store=stores("image"),
        texts_store=stores("text"),
        images=data_file("images.csv"),
        descriptions=data_file("descriptions.csv"),
        folds="results/{dataset}/data/folds.csv",
        shares=share_files,
    output:
        metrics="results/{dataset}/{model}/fold-{fold}/metrics.json",
        ranks="results/{dataset}/{model}/fold-{fold}/ranks.npz",
        trec=directory("results/{dataset}/{model}/fold-{fold}/trec"),
    log:
        "results/logs/evaluate_fold/{dataset}.{model}.{fold}.log",
    benchmark:
        "results/benchmarks/evaluate_fold/{dataset}.{model}.{fold}.tsv"
    wildcard_constraints:
        model=any_of(scored_rows),
    threads: 1  # its matrices are small: on several threads they wait; folds run side by side instead
    resources:
        gpu=gpus,
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        script=script("evaluate_fold.py"),
        cfg=slice_of("evaluate"),
        code=code("evaluate_fold.py"),
        # As in training: declared outputs are deleted when a job starts again, so blocks live outside of them.
        work=blocks_folder,
    shell:
        "{params.script} --config-json {params.cfg:q}"
        " --images-store {input.images_store:q} --texts-store {input.texts_store:q}"
        " --images {input.images:q} --descriptions {input.descriptions:q} --folds {input.folds:q}"
        " --weights {input.weights:q}"
        " --shares {input.shares:q} --work {params.work:q}"
        " --out-dir results/{wildcards.dataset}/{wildcards.model}/fold-{wildcards.fold} --threads {threads} --log {log:q}"
