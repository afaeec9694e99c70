# Cross-encoder rows: trained on right and wrong pairs, evaluated on the shortlists of the row that they re-rank.


rule train_cross_fold:
    input:
        row_encoder_files,
        region_encoder_files,
        cross_files,
        base_weights=row_weights,
        images_store=stores("image"),
        texts_store=stores("text"),
        regions_store=region_stores,
        tags=tag_files,
        images=data_file("images.csv"),
        descriptions=data_file("descriptions.csv"),
        folds="results/{dataset}/data/folds.csv",
    output:
        weights="results/{dataset}/{model}/fold-{fold}/model.safetensors",
        history="results/{dataset}/{model}/fold-{fold}/history.jsonl",
        run="results/{dataset}/{model}/fold-{fold}/run.json",
    log:
        "results/logs/train_cross_fold/{dataset}.{model}.{fold}.log",
    benchmark:
        "results/benchmarks/train_cross_fold/{dataset}.{model}.{fold}.tsv"
    wildcard_constraints:
        model=any_of(lists.models_of_kind(config, "cross_encoder")),
    threads: 1  # as the other rows: folds run side by side instead
    resources:
        gpu=gpus,
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime=lambda wildcards, attempt: 480 * attempt,
    params:
        script=script("train_cross_fold.py"),
        cfg=slice_of("train_cross"),
        code=code("train_cross_fold.py"),
        # Snakemake deletes outputs when it starts a job again; checkpoints therefore live outside of them.
        progress=work_folder("train", "train_cross", "train_cross_fold.py"),
    shell:
        "{params.script} --config-json {params.cfg:q}"
        " --images-store {input.images_store:q} --texts-store {input.texts_store:q}"
        " --regions-store {input.regions_store:q} --tags {input.tags:q}"
        " --images {input.images:q} --descriptions {input.descriptions:q} --folds {input.folds:q}"
        " --base-weights {input.base_weights:q} --progress {params.progress:q} --code {params.code}"
        " --out-dir results/{wildcards.dataset}/{wildcards.model}/fold-{wildcards.fold} --threads {threads} --log {log:q}"


rule evaluate_cross_fold:
    input:
        row_encoder_files,
        region_encoder_files,
        cross_files,
        base_weights=row_weights,
        images_store=stores("image"),
        texts_store=stores("text"),
        regions_store=region_stores,
        tags=tag_files,
        images=data_file("images.csv"),
        descriptions=data_file("descriptions.csv"),
        folds="results/{dataset}/data/folds.csv",
        weights="results/{dataset}/{model}/fold-{fold}/model.safetensors",
        run="results/{dataset}/{model}/fold-{fold}/run.json",
    output:
        metrics="results/{dataset}/{model}/fold-{fold}/metrics.json",
        ranks="results/{dataset}/{model}/fold-{fold}/ranks.npz",
        trec=directory("results/{dataset}/{model}/fold-{fold}/trec"),
    log:
        "results/logs/evaluate_cross_fold/{dataset}.{model}.{fold}.log",
    benchmark:
        "results/benchmarks/evaluate_cross_fold/{dataset}.{model}.{fold}.tsv"
    wildcard_constraints:
        model=any_of(lists.models_of_kind(config, "cross_encoder")),
    threads: 1  # as the other rows: folds run side by side instead
    resources:
        gpu=gpus,
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        script=script("evaluate_cross_fold.py"),
        cfg=slice_of("evaluate_cross"),
        code=code("evaluate_cross_fold.py"),
        # As in training: declared outputs are deleted when a job starts again, so finished scores live outside of them.
        work=work_folder("evaluate", "evaluate_cross", "evaluate_cross_fold.py"),
    shell:
        "{params.script} --config-json {params.cfg:q}"
        " --images-store {input.images_store:q} --texts-store {input.texts_store:q}"
        " --regions-store {input.regions_store:q} --tags {input.tags:q}"
        " --images {input.images:q} --descriptions {input.descriptions:q} --folds {input.folds:q}"
        " --base-weights {input.base_weights:q} --weights {input.weights:q} --work {params.work:q}"
        " --out-dir results/{wildcards.dataset}/{wildcards.model}/fold-{wildcards.fold} --threads {threads} --log {log:q}"
