# A table of recalls, with what it was made from. One file asked for, everything it stands on made: also the receipts.


rule table:
    input:
        run=run_files("run.json"),
        metrics=run_files("metrics.json"),
        history=run_files("history.jsonl"),
        ranks=run_files("ranks.npz"),
        published=published,
        receipts=receipts,
    output:
        csv="results/tables/{table}.csv",
        md="results/tables/{table}.md",
        folds="results/tables/{table}.folds.csv",
        curves="results/tables/{table}.curves.png",
        manifest="results/tables/{table}.manifest.json",
    log:
        "results/logs/table/{table}.log",
    benchmark:
        "results/benchmarks/table/{table}.tsv"
    localrule: True
    params:
        script=script("table.py"),
        cfg=slice_of("table"),
        code=code("table.py"),
    shell:
        "{params.script} --config-json {params.cfg:q}"
        " --results results --out-dir results/tables --log {log:q}"
