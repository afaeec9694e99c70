# Which images train, validate and test, fold by fold; and which of them are the same on both sides.


rule duplicates:
    input:
        images="results/{dataset}/data/images.csv",
        captions="results/{dataset}/data/captions.csv",
        descriptions="results/{dataset}/data/descriptions.csv",
    output:
        "results/{dataset}/data/duplicates.csv",
    log:
        "results/logs/duplicates/{dataset}.log",
    benchmark:
        "results/benchmarks/duplicates/{dataset}.tsv"
    threads: 4
    params:
        script=script("duplicates.py"),
        cfg=slice_of("duplicates"),
        code=code("duplicates.py"),
    shell:
        "{params.script} --config-json {params.cfg:q} --images {input.images:q}"
        " --captions {input.captions:q} --descriptions {input.descriptions:q}"
        " --threads {threads} --out {output:q} --log {log:q}"


rule make_folds:
    input:
        images=data_file("images.csv"),
        duplicates=kept_together,
    output:
        "results/{dataset}/data/folds.csv",
    log:
        "results/logs/make_folds/{dataset}.log",
    benchmark:
        "results/benchmarks/make_folds/{dataset}.tsv"
    localrule: True
    params:
        script=script("make_folds.py"),
        cfg=slice_of("make_folds"),
        code=code("make_folds.py"),
    shell:
        "{params.script} --config-json {params.cfg:q}"
        " --images {input.images:q} --duplicates {input.duplicates:q} --out {output:q} --log {log:q}"


rule leaks:
    input:
        folds="results/{dataset}/data/folds.csv",
        duplicates=data_file("duplicates.csv"),
    output:
        rows="results/{dataset}/data/leaks.csv",
        counts="results/{dataset}/data/leaks.json",
    log:
        "results/logs/leaks/{dataset}.log",
    benchmark:
        "results/benchmarks/leaks/{dataset}.tsv"
    localrule: True
    params:
        script=script("leaks.py"),
        cfg=slice_of("leaks"),
        code=code("leaks.py"),
    shell:
        "{params.script} --config-json {params.cfg:q} --folds {input.folds:q} --duplicates {input.duplicates:q}"
        " --out {output.rows:q} --counts {output.counts:q} --log {log:q}"
