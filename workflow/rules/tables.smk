# A table of recalls, with what it was made from. One file asked for, everything it stands on made: also the receipts
# and the picture of its dataset's captions.


rule caption_lengths:
    input:
        text_encoder_files,
        captions="results/{dataset}/data/captions.csv",
        descriptions="results/{dataset}/data/descriptions.csv",
    output:
        "results/{dataset}/data/caption_lengths.png",
    log:
        "results/logs/caption_lengths/{dataset}.log",
    benchmark:
        "results/benchmarks/caption_lengths/{dataset}.tsv"
    localrule: True
    params:
        script=script("caption_lengths.py"),
        cfg=slice_of("caption_lengths"),
        code=code("caption_lengths.py"),
    shell:
        "{params.script} --config-json {params.cfg:q} --captions {input.captions:q}"
        " --descriptions {input.descriptions:q} --out {output:q} --log {log:q}"


rule table:
    input:
        run=run_files("run.json"),
        metrics=run_files("metrics.json"),
        history=run_files("history.jsonl"),
        ranks=run_files("ranks.npz"),
        published=published,
        receipts=receipts,
        lengths=caption_lengths,
        leaks=leaks,
    output:
        csv="results/tables/{table}.csv",
        md="results/tables/{table}.md",
        tex="results/tables/{table}.tex",
        wide="results/tables/{table}.wide.csv",
        folds="results/tables/{table}.folds.csv",
        tests="results/tables/{table}.tests.csv",
        vs_paper="results/tables/{table}.vs_paper.csv",
        recall="results/tables/{table}.recall.png",
        curves="results/tables/{table}.curves.png",
        similarity="results/tables/{table}.similarity.png",
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
