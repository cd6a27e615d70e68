# Quality against time of every compared method, with its settings.
add_table("pareto_methods", target="harness.report.pareto:pareto_methods", version=1)


rule pareto_methods:
    input:
        **frames_of(COMPARE, "scores", "images", "timings"),
    output:
        **figure_files("pareto_methods", what="quality of every method against time"),
    log:
        "results/logs/figures/pareto_methods.log",
    threads: 1
    params:
        job=table_job(
            "pareto_methods",
            "results/figures/pareto_methods",
            frames_of(COMPARE, "scores", "images", "timings"),
            models=config["models"],
            settings=experiment.settings(COMPARE),
            batch_size=experiment.timed_batch_size(COMPARE),
        ),
    message:
        "draw quality against time of every method"
    shell:
        "python -m harness figure --job {params.job:q} 2>&1 | tee {log}"
