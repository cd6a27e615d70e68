# DPG-Bench at few sampling steps: the paper's table 6.
add_table(
    "table6", target="harness.analysis.paper_tables:dpg", version=1, sets=("dpg",),
    label="DPG-Bench at few sampling steps",
)
