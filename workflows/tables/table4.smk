# How networks are trained on preferences, or whatever the config trains on: the paper's table 4.
add_table(
    "table4", target="harness.analysis.hyperparameters:hyperparameters", version=1, printed_as="table4",
    label="hyper-parameters of training", caption="hyperparameters",
)
