# How networks are trained on redness: the paper's table 3.
add_table(
    "table3", target="harness.analysis.hyperparameters:hyperparameters", version=1, sets=("redness",), printed_as="table3",
    label="hyper-parameters of training on redness", caption="hyperparameters",
)
