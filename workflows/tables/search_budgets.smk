# What searches have after 1, 2, 5, ... scored images: of Best-of-N, every Best-of-n.
add_table(
    "search_budgets", target="harness.analysis.search_tables:search_budgets", version=1,
    sets=("compare",), group="compare", label="searches by the number of scored images",
)
