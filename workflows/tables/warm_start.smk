# How many iterations a trained noise network saves a search that starts from its noise.
add_table("warm_start", target="harness.analysis.search_tables:warm_start", version=2)


rule warm_start:
    input:
        **frames_of(COMPARE, "trajectories"),
    output:
        **table_files("warm_start", what="searches, cold and warm"),
    log:
        "results/logs/tables/warm_start.log",
    threads: 1
    params:
        job=table_job(
            "warm_start",
            "results/tables/warm_start",
            frames_of(COMPARE, "trajectories"),
            starts=experiment.warm_starts(),
            models=config["models"],
        ),
    message:
        "tabulate cold and warm searches"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"
