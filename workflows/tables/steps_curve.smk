# GenEval against sampling steps, drawn: table 8's numbers.
add_table(
    "steps_curve", target="harness.report.paper_figures:steps", version=1, makes="figure",
    sets=("few_steps", "more_steps"), label="GenEval against sampling steps",
)
