# GenEval at few and many sampling steps: the paper's table 8.
add_table(
    "table8",
    target="harness.analysis.paper_tables:geneval",
    selections=("few_steps", "more_steps"),
    printed_as="table8",
    version=1,
)


rule table8:
    input:
        unpack(lambda w: frames_for("table8", "scores", "images")),
    output:
        **table_files("table8", what="GenEval at few and many sampling steps"),
    log:
        "results/logs/tables/table8.log",
    threads: 1
    params:
        job=lambda w: runs_job("table8", "results/tables/table8"),
    message:
        "tabulate table 8"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"
