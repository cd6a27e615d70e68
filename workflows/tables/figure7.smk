# Base and HyperNoise: the paper's figure 7.
add_table(
    "figure7", target="harness.report.grids:side_by_side", version=2, makes="figure",
    sets=("figure7",), prompts_per_task=5,
    label="figure 7: more prompts",
    category="Images from the same noise", caption="paper_figures",
)
