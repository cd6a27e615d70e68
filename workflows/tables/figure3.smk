# What training on an easily hacked reward does to images: the paper's figure 3.
add_table(
    "figure3",
    target="harness.report.grids:side_by_side",
    selections=("redness",),
    version=1,
    prompts_per_task=4,
)


rule figure3:
    input:
        unpack(lambda w: frames_for("figure3", "images", "scores")),
    output:
        **figure_files("figure3", what="figure 3: a hacked reward", category=SAME_NOISE),
    log:
        "results/logs/figures/figure3.log",
    threads: 1
    params:
        job=lambda w: grid_job(
            "figure3",
            experiment.selection("redness").methods,
            values={
                "train_reward": experiment.selection("redness").reward,
                "judge_reward": "judge",
            },
        ),
    message:
        "draw figure 3"
    shell:
        "python -m harness figure --job {params.job:q} 2>&1 | tee {log}"
