# GenEval, cost and rewards of every model and method: the paper's table 1.
add_table(
    "table1", target="harness.analysis.tables:table1", version=3,
    label="GenEval, cost and rewards",
)
