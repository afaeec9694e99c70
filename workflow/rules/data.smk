# From files to records: images.csv, captions.csv and a report of what was left out; then descriptions.


# Before any work, until it has passed once; after that each stage checks what it reads. No change plans it again:
# what follows takes it as `ancient`, and Snakemake (9.27) overlooks the changes of jobs behind an ancient file whose
# own job is planned. So nothing that is compared stands here, not even the command.
rule check:
    output:
        "results/{dataset}/check.txt",
    log:
        "results/logs/check/{dataset}.log",
    benchmark:
        "results/benchmarks/check/{dataset}.tsv"
    localrule: True
    params:
        command=check_command,
    shell:
        "{params.command}"


# The archive itself is no output: Snakemake would delete it before each run of the rule. What it holds may lie unpacked
# already, the archive gone; then this notes so and fetches nothing.
rule download_archive:
    input:
        ancient("results/{dataset}/check.txt"),
    output:
        "resources/{dataset}/{archive}.json",
    log:
        "results/logs/download_archive/{dataset}.{archive}.log",
    benchmark:
        "results/benchmarks/download_archive/{dataset}.{archive}.tsv"
    wildcard_constraints:
        dataset=any_of(lists.downloaded(config)),
    retries: 3
    localrule: True
    resources:
        downloads=1,
    params:
        script=script("download_archive.py"),
        cfg=slice_of("download_archive"),
        code=code("download_archive.py"),
    shell:
        "{params.script} --config-json {params.cfg:q}"
        " --zip resources/{wildcards.dataset}/{wildcards.archive}.zip"
        " --folder resources/{wildcards.dataset}/{wildcards.archive} --record {output:q} --log {log:q}"


# Before the next download: with keep_archives: false it makes room.
rule unpack_archive:
    input:
        "resources/{dataset}/{archive}.json",
    output:
        "resources/{dataset}/{archive}.unpacked",
    log:
        "results/logs/unpack_archive/{dataset}.{archive}.log",
    benchmark:
        "results/benchmarks/unpack_archive/{dataset}.{archive}.tsv"
    priority: 1
    localrule: True
    params:
        script=script("unpack_archive.py"),
        cfg=slice_of("unpack_archive"),
        code=code("unpack_archive.py"),
        keep=keep_archives,
    shell:
        "{params.script} --config-json {params.cfg:q}"
        " --zip resources/{wildcards.dataset}/{wildcards.archive}.zip --record {input:q}"
        " --folder resources/{wildcards.dataset}/{wildcards.archive} --marker {output:q} {params.keep} --log {log:q}"


rule read_arch:
    input:
        ancient("results/{dataset}/check.txt"),
        source=sources,
    output:
        images="results/{dataset}/data/images.csv",
        captions="results/{dataset}/data/captions.csv",
        report="results/{dataset}/data/report.csv",
        summary="results/{dataset}/data/report.md",
    log:
        "results/logs/read_arch/{dataset}.log",
    benchmark:
        "results/benchmarks/read_arch/{dataset}.tsv"
    wildcard_constraints:
        dataset=any_of(lists.datasets_of(config, "arch")),
    threads: 4
    params:
        script=script("read_arch.py"),
        cfg=slice_of("read_arch"),
        code=code("read_arch.py"),
    shell:
        "{params.script} --config-json {params.cfg:q} --threads {threads}"
        " --out-dir results/{wildcards.dataset}/data --log {log:q}"


rule read_coco:
    input:
        ancient("results/{dataset}/check.txt"),
        source=sources,
    output:
        images="results/{dataset}/data/images.csv",
        captions="results/{dataset}/data/captions.csv",
        report="results/{dataset}/data/report.csv",
        summary="results/{dataset}/data/report.md",
    log:
        "results/logs/read_coco/{dataset}.log",
    benchmark:
        "results/benchmarks/read_coco/{dataset}.tsv"
    wildcard_constraints:
        dataset=any_of(lists.datasets_of(config, "coco")),
    threads: 4
    params:
        script=script("read_coco.py"),
        cfg=slice_of("read_coco"),
        code=code("read_coco.py"),
    shell:
        "{params.script} --config-json {params.cfg:q} --threads {threads}"
        " --out-dir results/{wildcards.dataset}/data --log {log:q}"


rule read_pairs:
    input:
        ancient("results/{dataset}/check.txt"),
        source=sources,
    output:
        images="results/{dataset}/data/images.csv",
        captions="results/{dataset}/data/captions.csv",
        report="results/{dataset}/data/report.csv",
        summary="results/{dataset}/data/report.md",
    log:
        "results/logs/read_pairs/{dataset}.log",
    benchmark:
        "results/benchmarks/read_pairs/{dataset}.tsv"
    wildcard_constraints:
        dataset=any_of(lists.datasets_of(config, "pairs")),
    threads: 4
    params:
        script=script("read_pairs.py"),
        cfg=slice_of("read_pairs"),
        code=code("read_pairs.py"),
    shell:
        "{params.script} --config-json {params.cfg:q} --threads {threads}"
        " --out-dir results/{wildcards.dataset}/data --log {log:q}"


rule read_precomputed:
    input:
        ancient("results/{dataset}/check.txt"),
        source=sources,
    output:
        images="results/{dataset}/data/images.csv",
        captions="results/{dataset}/data/captions.csv",
        report="results/{dataset}/data/report.csv",
        summary="results/{dataset}/data/report.md",
    log:
        "results/logs/read_precomputed/{dataset}.log",
    benchmark:
        "results/benchmarks/read_precomputed/{dataset}.tsv"
    wildcard_constraints:
        dataset=any_of(lists.datasets_of(config, "precomputed")),
    params:
        script=script("read_precomputed.py"),
        cfg=slice_of("read_precomputed"),
        code=code("read_precomputed.py"),
    shell:
        "{params.script} --config-json {params.cfg:q}"
        " --out-dir results/{wildcards.dataset}/data --log {log:q}"


rule read_synthetic:
    input:
        ancient("results/{dataset}/check.txt"),
    output:
        images="results/{dataset}/data/images.csv",
        captions="results/{dataset}/data/captions.csv",
        report="results/{dataset}/data/report.csv",
        summary="results/{dataset}/data/report.md",
    log:
        "results/logs/read_synthetic/{dataset}.log",
    benchmark:
        "results/benchmarks/read_synthetic/{dataset}.tsv"
    wildcard_constraints:
        dataset=any_of(lists.datasets_of(config, "synthetic")),
    threads: 4
    params:
        script=script("read_synthetic.py"),
        cfg=slice_of("read_synthetic"),
        code=code("read_synthetic.py"),
    shell:
        "{params.script} --config-json {params.cfg:q} --threads {threads}"
        " --out-dir results/{wildcards.dataset}/data --log {log:q}"


rule describe:
    input:
        "results/{dataset}/data/captions.csv",
    output:
        "results/{dataset}/data/descriptions.csv",
    log:
        "results/logs/describe/{dataset}.log",
    benchmark:
        "results/benchmarks/describe/{dataset}.tsv"
    localrule: True
    params:
        script=script("describe.py"),
        cfg=slice_of("describe"),
        code=code("describe.py"),
    shell:
        "{params.script} --config-json {params.cfg:q}"
        " --captions {input:q} --out {output:q} --log {log:q}"
