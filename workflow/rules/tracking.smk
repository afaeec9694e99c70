# Runs into MLflow, by one writer: several at once crash its migration or land in the wrong experiment.


rule track:
    input:
        run=fold_files("run.json"),
        history=fold_files("history.jsonl"),
        metrics=fold_files("metrics.json"),
    output:
        "results/{dataset}/{model}/mlflow.json",
    log:
        "results/logs/track/{dataset}.{model}.log",
    benchmark:
        "results/benchmarks/track/{dataset}.{model}.tsv"
    localrule: True
    resources:
        mlflow_writer=1,
    params:
        script=script("track.py"),
        cfg=slice_of("track"),
        code=code("track.py"),
    shell:
        "{params.script} --config-json {params.cfg:q}"
        " --results results --out {output:q} --log {log:q}"
