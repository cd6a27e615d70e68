# What training on an easily hacked reward does to images: the paper's figure 3.
add_table(
    "figure3", target="harness.report.grids:side_by_side", version=1, makes="figure",
    sets=("redness",), prompts_per_task=4, label="figure 3: a hacked reward",
    category="Images from the same noise",
)
