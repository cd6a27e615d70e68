# The reward of the best image so far, against iterations and against time.
add_table("curves", target="harness.report.search_figures:curves", version=1)


rule curves:
    input:
        **frames_of(COMPARE, "trajectories", "timings"),
    output:
        **figure_files("curves", what="reward of searches against iterations and time"),
    log:
        "results/logs/figures/curves.log",
    threads: 1
    params:
        job=table_job(
            "curves",
            "results/figures/curves",
            frames_of(COMPARE, "trajectories", "timings"),
            models=config["models"],
            batch_size=experiment.timed_batch_size(COMPARE),
        ),
    message:
        "draw the curves of searches"
    shell:
        "python -m harness figure --job {params.job:q} 2>&1 | tee {log}"
