# The same noise under every method: a grid per model, as in the paper's figures 1 and 5 to 8.
add_table(
    "grid", target="harness.report.grids:grid", version=1, makes="figure", per_model=True,
    group="grids", prompts_per_task=1, label="the same noise under every method",
    category="Images from the same noise", caption="grids",
)
