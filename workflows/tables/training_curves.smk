# Validation rewards while networks are trained, with intervals.
add_table("training_curves", target="harness.report.paper_figures:training_curves", version=1)


rule training_curves:
    input:
        [TRAINING.format(model=m, reward=r, training=t) for m, r, t in experiment.trainings()],
    output:
        **figure_files("training_curves", what="validation rewards during training"),
    log:
        "results/logs/figures/training_curves.log",
    threads: 1
    params:
        job=lambda w, input: table_job(
            "training_curves",
            "results/figures/training_curves",
            {"training": [f"{folder}/steps.parquet" for folder in input]},
            reward=config["reward"],
            models=config["models"],
            methods=list(dict.fromkeys(t for _, _, t in experiment.trainings())),
        ),
    message:
        "draw training curves"
    shell:
        "python -m harness figure --job {params.job:q} 2>&1 | tee {log}"
