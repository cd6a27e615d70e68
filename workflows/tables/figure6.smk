# What fine-tuning on preferences does to images, beside HyperNoise: the paper's figure 6.
add_table(
    "figure6", target="harness.report.grids:side_by_side", version=2, makes="figure",
    sets=("figure6",), prompts_per_task=5,
    label="figure 6: artefacts of fine-tuning",
    category="Images from the same noise", caption="paper_figures",
)
