# GenEval of noise networks of several LoRA ranks: the paper's table 9.
add_table(
    "table9",
    target="harness.analysis.paper_tables:geneval",
    selections=("few_steps", "ranks"),
    printed_as="table9",
    version=1,
)


rule table9:
    input:
        unpack(lambda w: frames_for("table9", "scores", "images")),
    output:
        **table_files("table9", what="GenEval of noise networks by LoRA rank"),
    log:
        "results/logs/tables/table9.log",
    threads: 1
    params:
        job=lambda w: runs_job("table9", "results/tables/table9", kind="hypernoise"),
    message:
        "tabulate table 9"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"
