# Models in four steps, then two of them with HyperNoise: the paper's figure 5, on its four whole prompts.
add_table(
    "figure5", target="harness.report.grids:side_by_side", version=2, makes="figure",
    sets=("figure5", "figure5_hypernoise"), prompts_per_task=5,
    label="figure 5: models in four steps",
    category="Images from the same noise", caption="paper_figures",
)
