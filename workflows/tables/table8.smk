# GenEval at few and many sampling steps: the paper's table 8.
add_table(
    "table8", target="harness.analysis.paper_tables:geneval", version=1,
    sets=("few_steps", "more_steps"), printed_as="table8",
    label="GenEval at few and many sampling steps",
)
