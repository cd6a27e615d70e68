# GenEval at few and many sampling steps: the paper's table 8.
add_table(
    "table8",
    target="harness.paper_tables:geneval",
    selections=("few_steps", "more_steps"),
    printed_as="table8",
    version=1,
)


rule table8:
    input:
        unpack(lambda w: frames_for("table8", "scores", "images")),
    output:
        multiext("results/tables/table8", ".csv", ".md", ".tex", ".parquet"),
        html=report(
            "results/tables/table8.html",
            caption="../report/table8.rst",
            category="Tables",
            labels={"what": "GenEval at few and many sampling steps"},
        ),
    log:
        "results/logs/tables/table8.log",
    threads: 1
    params:
        job=lambda w: runs_job("table8", "results/tables/table8"),
    message:
        "tabulate table 8"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"
