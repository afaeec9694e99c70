# Which images train, validate and test, fold by fold.


rule make_folds:
    input:
        "results/{dataset}/data/images.csv",
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
        " --images {input:q} --out {output:q} --log {log:q}"
