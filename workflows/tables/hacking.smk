# What a gain in the trained reward costs, and where each method leaves the generator's own images.
add_table(
    "hacking_table", target="harness.analysis.hacking:hacking", version=1,
    sets=("hacking",), group="hacking", label="what a gain in the reward costs", caption="hacking",
)
add_table(
    "hacking_panel", target="harness.report.hacking_figure:hacking_panel", version=1, makes="figure",
    sets=("hacking",), group="hacking", label="what a gain in the reward costs", caption="hacking",
)
