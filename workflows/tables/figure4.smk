# What rising reward does to image quality while a network is trained: the paper's figure 4.
add_table(
    "figure4", target="harness.report.training_figures:figure4", version=1, makes="figure",
    sets=("figure4",), label="reward against quality during training",
)
