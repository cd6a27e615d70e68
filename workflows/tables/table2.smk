# GenEval at few sampling steps: the paper's table 2.
add_table(
    "table2", target="harness.analysis.paper_tables:geneval", version=1, sets=("few_steps",),
    printed_as="table2", label="GenEval at few sampling steps",
)
