# T2I-CompBench's categories at few sampling steps: the paper's table 5.
add_table(
    "table5", target="harness.analysis.paper_tables:compbench", version=1, sets=("compbench",),
    label="T2I-CompBench at few sampling steps",
)
