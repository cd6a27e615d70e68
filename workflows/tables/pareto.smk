# GenEval against time per image.
add_table("pareto", target="harness.report.pareto:pareto", version=1)


rule pareto:
    input:
        **main_frames("scores", "images", "timings"),
    output:
        **figure_files("pareto", what="GenEval against time per image"),
    log:
        "results/logs/figures/pareto.log",
    threads: 1
    params:
        job=table_job(
            "pareto",
            "results/figures/pareto",
            main_frames("scores", "images", "timings"),
            models=config["models"],
            methods=config["methods"],
            batch_size=config["timing"]["batch_size"],
        ),
    message:
        "draw GenEval against time"
    shell:
        "python -m harness figure --job {params.job:q} 2>&1 | tee {log}"
