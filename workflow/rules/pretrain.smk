# Encoders trained here by classification of labelled pictures; an encoder block names the folder as its weights.


rule pretrain:
    input:
        pretrain_files,
    output:
        config="results/pretrain/{pretraining}/config.json",
        weights="results/pretrain/{pretraining}/model.safetensors",
        record="results/pretrain/{pretraining}/record.json",
        history="results/pretrain/{pretraining}/history.jsonl",
        held_out="results/pretrain/{pretraining}/held_out.csv",
        confusion="results/pretrain/{pretraining}/confusion.csv",
        picture="results/pretrain/{pretraining}/confusion.png",
        report="results/pretrain/{pretraining}/report.csv",
    log:
        "results/logs/pretrain/{pretraining}.log",
    benchmark:
        "results/benchmarks/pretrain/{pretraining}.tsv"
    threads: 4
    resources:
        gpu=gpus,
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime=lambda wildcards, attempt: 1440 * attempt,
    params:
        script=script("pretrain.py"),
        cfg=slice_of("pretrain"),
        code=code("pretrain.py"),
        # Snakemake deletes outputs when it starts a job again; checkpoints therefore live outside of them.
        progress=pretrain_progress,
    shell:
        "{params.script} --config-json {params.cfg:q}"
        " --progress {params.progress:q} --code {params.code}"
        " --out-dir results/pretrain/{wildcards.pretraining} --threads {threads} --log {log:q}"
