# The embedded world's counterpart of the paper's figure 8: few steps.
add_table(
    "embedded_figure8", target="harness.report.grids:side_by_side", version=1, makes="figure",
    sets=("few_steps",), methods=("base", "hypernoise"),
    label="figure 8, embedded: few steps",
    category="Images from the same noise", caption="embedded_figures",
)
