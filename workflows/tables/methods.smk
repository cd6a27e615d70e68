# What every way of spending compute earns and costs: the comparison of the config's `compare`.
add_table(
    "methods", target="harness.analysis.tables:methods", version=4, sets=("compare",),
    group="compare", label="every method, what it earns and costs",
)
