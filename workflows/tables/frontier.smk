# The frontier of reward and fidelity: noise networks by the weight of their L2 term, and fine-tuning.
add_table(
    "frontier", target="harness.report.pareto:frontier", version=1, makes="figure",
    sets=("regularisation",), group="regularisation", label="reward against fidelity",
    caption="regularisation",
)
