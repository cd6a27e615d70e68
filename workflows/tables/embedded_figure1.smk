# The embedded world's counterpart of the paper's figure 1: every model, from one noise.
add_table(
    "embedded_figure1", target="harness.report.grids:side_by_side", version=1, makes="figure",
    methods=("base", "hypernoise"),
    label="figure 1, embedded: every model",
    category="Images from the same noise", caption="embedded_figures",
)
