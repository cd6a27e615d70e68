# Validation rewards while networks are trained, with intervals.
add_table("training_curves", target="harness.paper_figures:training_curves", version=1)


rule training_curves:
    input:
        [TRAINING.format(model=m, reward=r, training=t) for m, r, t in experiment.trainings()],
    output:
        png=report(
            "results/figures/training_curves.png",
            caption="../report/training_curves.rst",
            category="Figures",
            labels={"what": "validation rewards during training"},
        ),
        pdf="results/figures/training_curves.pdf",
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
