# GenEval at few sampling steps: the paper's table 2.
add_table(
    "table2",
    target="harness.analysis.paper_tables:geneval",
    selections=("few_steps",),
    printed_as="table2",
    version=1,
)


rule table2:
    input:
        unpack(lambda w: frames_for("table2", "scores", "images")),
    output:
        **table_files("table2", what="GenEval at few sampling steps"),
    log:
        "results/logs/tables/table2.log",
    threads: 1
    params:
        job=lambda w: runs_job("table2", "results/tables/table2"),
    message:
        "tabulate table 2"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"
