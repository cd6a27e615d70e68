# Base and noise network from the same noise, on every model: the paper's figure 1.
add_table(
    "figure1", target="harness.report.grids:side_by_side", version=1, makes="figure",
    methods=("base", "hypernoise"), label="figure 1: every model",
    category="Images from the same noise",
)
