# Validation rewards while networks are trained, with intervals.
add_table(
    "training_curves", target="harness.report.training_figures:training_curves", version=1,
    makes="figure", label="validation rewards during training",
)
