# Tokens at the depth where training begins, in HDF5 token stores: one file per shard.
# The size of a batch changes no token: it is in `cfg`, which a job gets, and not in `watched`, which is compared.


rule convert_weights:
    input:
        lambda wildcards: lists.converted_weights(config)[wildcards.folder],
    output:
        config="resources/encoders/{folder}/config.json",
        weights="resources/encoders/{folder}/model.safetensors",
    log:
        "results/logs/convert_weights/{folder}.log",
    benchmark:
        "results/benchmarks/convert_weights/{folder}.tsv"
    wildcard_constraints:
        folder=any_of(lists.converted_weights(config)),
    localrule: True
    params:
        script=script("convert_weights.py"),
        code=code("convert_weights.py"),
    shell:
        "{params.script} --source {input:q}"
        " --out resources/encoders/{wildcards.folder} --log {log:q}"


rule image_tokens:
    input:
        ancient("results/{dataset}/check.txt"),
        encoder_files,
        images="results/{dataset}/data/images.csv",
    output:
        "results/{dataset}/features/{encoder}/shard-{shard}.h5",
    log:
        "results/logs/image_tokens/{dataset}.{encoder}.{shard}.log",
    benchmark:
        "results/benchmarks/image_tokens/{dataset}.{encoder}.{shard}.tsv"
    wildcard_constraints:
        encoder=any_of(lists.image_encoders_of(config, None)),
    threads: 4
    resources:
        gpu=gpus,
        mem_mb=lambda wildcards, attempt: 12000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        script=script("image_tokens.py"),
        cfg=unwatched_slice_of("tokens_job"),
        watched=slice_of("tokens"),
        shards=shards,
        code=code("image_tokens.py"),
        progress=tokens_folder("image_tokens.py"),
    shell:
        "{params.script} --config-json {params.cfg:q} --images {input.images:q}"
        " --shard {wildcards.shard} --shards {params.shards} --threads {threads} --code {params.code}"
        " --progress {params.progress:q}"
        " --out {output:q} --log {log:q}"


rule region_tokens:
    input:
        ancient("results/{dataset}/check.txt"),
        encoder_files,
        images="results/{dataset}/data/images.csv",
    output:
        "results/{dataset}/features/{encoder}/shard-{shard}.h5",
    log:
        "results/logs/region_tokens/{dataset}.{encoder}.{shard}.log",
    benchmark:
        "results/benchmarks/region_tokens/{dataset}.{encoder}.{shard}.tsv"
    wildcard_constraints:
        encoder=any_of(lists.image_encoders_of(config, "faster_rcnn")),
    threads: 4
    resources:
        gpu=gpus,
        mem_mb=lambda wildcards, attempt: 12000 * attempt,
        runtime=lambda wildcards, attempt: 720 * attempt,
    params:
        script=script("region_tokens.py"),
        cfg=unwatched_slice_of("tokens_job"),
        watched=slice_of("tokens"),
        shards=shards,
        code=code("region_tokens.py"),
        progress=tokens_folder("region_tokens.py"),
    shell:
        "{params.script} --config-json {params.cfg:q} --images {input.images:q}"
        " --shard {wildcards.shard} --shards {params.shards} --threads {threads} --code {params.code}"
        " --progress {params.progress:q}"
        " --out {output:q} --log {log:q}"


# Regions that others have computed: copied, so the disk sets the pace.
rule npy_tokens:
    input:
        ancient("results/{dataset}/check.txt"),
        region_files,
        images="results/{dataset}/data/images.csv",
    output:
        "results/{dataset}/features/{encoder}/shard-{shard}.h5",
    log:
        "results/logs/npy_tokens/{dataset}.{encoder}.{shard}.log",
    benchmark:
        "results/benchmarks/npy_tokens/{dataset}.{encoder}.{shard}.tsv"
    wildcard_constraints:
        encoder=any_of(lists.image_encoders_of(config, "npy")),
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        script=script("npy_tokens.py"),
        cfg=slice_of("tokens"),
        shards=shards,
        code=code("npy_tokens.py"),
    shell:
        "{params.script} --config-json {params.cfg:q} --images {input.images:q}"
        " --shard {wildcards.shard} --shards {params.shards} --code {params.code}"
        " --out {output:q} --log {log:q}"


rule tsv_tokens:
    input:
        ancient("results/{dataset}/check.txt"),
        region_files,
        images="results/{dataset}/data/images.csv",
    output:
        "results/{dataset}/features/{encoder}/shard-{shard}.h5",
    log:
        "results/logs/tsv_tokens/{dataset}.{encoder}.{shard}.log",
    benchmark:
        "results/benchmarks/tsv_tokens/{dataset}.{encoder}.{shard}.tsv"
    wildcard_constraints:
        encoder=any_of(lists.image_encoders_of(config, "bottom_up")),
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        script=script("tsv_tokens.py"),
        cfg=slice_of("tokens"),
        shards=shards,
        code=code("tsv_tokens.py"),
    shell:
        "{params.script} --config-json {params.cfg:q} --images {input.images:q}"
        " --shard {wildcards.shard} --shards {params.shards} --code {params.code}"
        " --out {output:q} --log {log:q}"


rule text_tokens:
    input:
        ancient("results/{dataset}/check.txt"),
        encoder_files,
        descriptions="results/{dataset}/data/descriptions.csv",
    output:
        "results/{dataset}/features/{encoder}/shard-{shard}.h5",
    log:
        "results/logs/text_tokens/{dataset}.{encoder}.{shard}.log",
    benchmark:
        "results/benchmarks/text_tokens/{dataset}.{encoder}.{shard}.tsv"
    wildcard_constraints:
        encoder=any_of(lists.encoders_of(config, "text")),
    threads: 4
    resources:
        gpu=gpus,
        mem_mb=lambda wildcards, attempt: 12000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        script=script("text_tokens.py"),
        cfg=unwatched_slice_of("tokens_job"),
        watched=slice_of("tokens"),
        shards=shards,
        code=code("text_tokens.py"),
        progress=tokens_folder("text_tokens.py"),
    shell:
        "{params.script} --config-json {params.cfg:q} --descriptions {input.descriptions:q}"
        " --shard {wildcards.shard} --shards {params.shards} --threads {threads} --code {params.code}"
        " --progress {params.progress:q}"
        " --out {output:q} --log {log:q}"
