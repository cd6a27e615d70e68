# Base and HyperNoise of two models: the paper's figure 1, on the one prompt that it prints whole.
add_table(
    "figure1", target="harness.report.grids:side_by_side", version=2, makes="figure",
    sets=("figure1",), prompts_per_task=5,
    label="figure 1: two models",
    category="Images from the same noise", caption="paper_figures",
)
