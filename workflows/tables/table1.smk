# GenEval, cost and rewards of every model and method: the paper's table 1.
add_table("table1", target="harness.analysis.tables:table1", version=2)


rule table1:
    input:
        **main_frames("scores", "images", "timings"),
    output:
        **table_files("table1", what="GenEval, cost and rewards"),
    log:
        "results/logs/tables/table1.log",
    threads: 1
    params:
        job=table_job(
            "table1",
            "results/tables/table1",
            main_frames("scores", "images", "timings"),
            models=config["models"],
            methods=config["methods"],
            batch_size=config["timing"]["batch_size"],
        ),
    message:
        "tabulate table 1"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"
