# How many iterations a trained noise network saves a search that starts from its noise.
add_table("warm_start", target="harness.searches:warm_start", version=1)


rule warm_start:
    input:
        **frames_of(COMPARE, "trajectories"),
    output:
        multiext("results/tables/warm_start", ".csv", ".md", ".tex", ".parquet"),
        html=report(
            "results/tables/warm_start.html",
            caption="../report/warm_start.rst",
            category="Tables",
            labels={"what": "searches, cold and warm"},
        ),
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
