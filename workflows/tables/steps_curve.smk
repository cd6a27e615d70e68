# GenEval against sampling steps, drawn: table 8's numbers.
add_table(
    "steps_curve",
    target="harness.report.paper_figures:steps",
    selections=("few_steps", "more_steps"),
    version=1,
)


rule steps_curve:
    input:
        unpack(lambda w: frames_for("steps_curve", "scores", "images")),
    output:
        **figure_files("steps_curve", what="GenEval against sampling steps"),
    log:
        "results/logs/figures/steps_curve.log",
    threads: 1
    params:
        job=lambda w: runs_job("steps_curve", "results/figures/steps_curve"),
    message:
        "draw GenEval against sampling steps"
    shell:
        "python -m harness figure --job {params.job:q} 2>&1 | tee {log}"
