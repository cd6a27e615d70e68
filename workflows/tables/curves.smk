# The reward of the best image so far, against iterations and against time.
add_table(
    "curves", target="harness.report.search_figures:curves", version=1, makes="figure",
    sets=("compare",), group="compare", label="searches by iterations and generation time",
)
