# T2I-CompBench's categories at few sampling steps: the paper's table 5.
add_table(
    "table5",
    target="harness.analysis.paper_tables:compbench",
    selections=("compbench",),
    version=1,
)


rule table5:
    input:
        unpack(lambda w: frames_for("table5", "scores", "images")),
    output:
        **table_files("table5", what="T2I-CompBench at few sampling steps"),
    log:
        "results/logs/tables/table5.log",
    threads: 1
    params:
        job=lambda w: runs_job("table5", "results/tables/table5", metric=metric_of("table5")),
    message:
        "tabulate table 5"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"
