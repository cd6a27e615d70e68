# GenEval against time per image.
add_table(
    "pareto", target="harness.report.pareto:pareto", version=1, makes="figure",
    label="GenEval against generation time per image",
)
