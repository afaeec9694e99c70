# Encoders trained here by classification of labelled pictures; an encoder block names the folder as its weights.


# As download_archive does, for archives that belong to no dataset: what lies unpacked already is not fetched again.
rule download_patches:
    output:
        "resources/nct_crc/{patches}.json",
    log:
        "results/logs/download_patches/{patches}.log",
    benchmark:
        "results/benchmarks/download_patches/{patches}.tsv"
    retries: 3
    localrule: True
    resources:
        downloads=1,
    params:
        script=script("download_archive.py"),
        cfg=slice_of("download_patches"),
        code=code("download_archive.py"),
    shell:
        "{params.script} --config-json {params.cfg:q}"
        " --zip resources/nct_crc/{wildcards.patches}.zip"
        " --folder resources/nct_crc/{wildcards.patches} --record {output:q} --log {log:q}"


rule unpack_patches:
    input:
        "resources/nct_crc/{patches}.json",
    output:
        "resources/nct_crc/{patches}.unpacked",
    log:
        "results/logs/unpack_patches/{patches}.log",
    benchmark:
        "results/benchmarks/unpack_patches/{patches}.tsv"
    priority: 1
    localrule: True
    params:
        script=script("unpack_archive.py"),
        cfg=slice_of("unpack_patches"),
        code=code("unpack_archive.py"),
    shell:
        "{params.script} --config-json {params.cfg:q}"
        " --zip resources/nct_crc/{wildcards.patches}.zip --record {input:q}"
        " --folder resources/nct_crc/{wildcards.patches} --marker {output:q} --log {log:q}"


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
        progress=work_folder("pretrain", "pretrain", "pretrain.py", ("pretraining",)),
    shell:
        "{params.script} --config-json {params.cfg:q}"
        " --progress {params.progress:q} --code {params.code}"
        " --out-dir results/pretrain/{wildcards.pretraining} --threads {threads} --log {log:q}"
