# What each choice of the authors' training code is worth, against the network without it.
add_table(
    "authors_choices", target="harness.analysis.tables:ablation", version=1,
    sets=("authors_choices",), baseline="hypernoise",
    label="choices of the authors' code",
)
