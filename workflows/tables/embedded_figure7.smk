# The embedded world's counterpart of the paper's figure 7: the second model from three noises.
add_table(
    "embedded_figure7", target="harness.report.grids:side_by_side", version=1, makes="figure",
    methods=("base", "hypernoise"), place=2, n_images=3,
    label="figure 7, embedded: three noises",
    category="Images from the same noise", caption="embedded_figures",
)
