# What the weight of the L2 term buys and costs, beside fine-tuning's checkpoints.
add_table(
    "regularisation", target="harness.analysis.regularisation:regularisation", version=2,
    sets=("regularisation",), group="regularisation", label="weights of the L2 term",
)
