# GenEval against the LoRA rank, drawn: the numbers of tables 9 and 10.
add_table(
    "rank_curve",
    target="harness.report.paper_figures:ranks",
    selections=("few_steps", "ranks"),
    version=1,
)


rule rank_curve:
    input:
        unpack(lambda w: frames_for("rank_curve", "scores", "images")),
    output:
        **figure_files("rank_curve", what="GenEval against the LoRA rank"),
    log:
        "results/logs/figures/rank_curve.log",
    threads: 1
    params:
        job=lambda w: runs_job("rank_curve", "results/figures/rank_curve"),
    message:
        "draw GenEval against the LoRA rank"
    shell:
        "python -m harness figure --job {params.job:q} 2>&1 | tee {log}"
