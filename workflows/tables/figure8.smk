# Base and noise network from the same noise in few steps: the paper's figure 8.
add_table(
    "figure8", target="harness.report.grids:side_by_side", version=1, makes="figure",
    sets=("few_steps",), methods=("base", "hypernoise"), label="figure 8: few steps",
    category="Images from the same noise",
)
