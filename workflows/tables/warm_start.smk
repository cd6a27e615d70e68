# How many iterations a trained noise network saves a search that starts from its noise.
add_table(
    "warm_start", target="harness.analysis.search_tables:warm_start", version=2, sets=("compare",),
    group="compare", label="searches, cold and warm",
)
