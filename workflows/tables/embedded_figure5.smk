# The embedded world's counterpart of the paper's figure 5: every model, on more captions.
add_table(
    "embedded_figure5", target="harness.report.grids:side_by_side", version=1, makes="figure",
    methods=("base", "hypernoise"), prompts_per_task=2,
    label="figure 5, embedded: more captions",
    category="Images from the same noise", caption="embedded_figures",
)
