# GenEval against the LoRA rank, drawn: the numbers of tables 9 and 10.
add_table(
    "rank_curve", target="harness.report.paper_figures:ranks", version=1, makes="figure",
    sets=("few_steps", "ranks"), label="GenEval against the LoRA rank",
)
