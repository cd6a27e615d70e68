# What every way of spending compute earns and costs: the comparison of the config's `compare`.
add_table("methods", target="harness.analysis.tables:methods", version=3)


rule methods:
    input:
        **frames_of(COMPARE, "scores", "images", "timings", "trajectories"),
    output:
        **table_files("methods", what="every method, what it earns and costs"),
    log:
        "results/logs/tables/methods.log",
    threads: 1
    params:
        job=table_job(
            "methods",
            "results/tables/methods",
            frames_of(COMPARE, "scores", "images", "timings", "trajectories"),
            models=config["models"],
            methods=config["compare"]["methods"],
            batch_size=experiment.timed_batch_size(COMPARE),
        ),
    message:
        "tabulate every method"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"
