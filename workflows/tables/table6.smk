# DPG-Bench at few sampling steps: the paper's table 6.
add_table(
    "table6",
    target="harness.analysis.paper_tables:dpg",
    selections=("dpg",),
    version=1,
)


rule table6:
    input:
        unpack(lambda w: frames_for("table6", "scores", "images")),
    output:
        **table_files("table6", what="DPG-Bench at few sampling steps"),
    log:
        "results/logs/tables/table6.log",
    threads: 1
    params:
        job=lambda w: runs_job("table6", "results/tables/table6", metric=metric_of("table6")),
    message:
        "tabulate table 6"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"
