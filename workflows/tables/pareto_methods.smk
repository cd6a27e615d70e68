# Quality against time of every compared method, with its settings.
add_table(
    "pareto_methods", target="harness.report.pareto:pareto_methods", version=1, makes="figure",
    sets=("compare",), group="compare", label="quality of every method against generation time",
)
