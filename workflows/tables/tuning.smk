# Validation trials, as many for every kind of network and every search, and what they choose.
add_table(
    "tuning", target="harness.analysis.tuning:tuning", version=2, sets=("tuning",), group="tuning",
    label="validation trials",
)
# The chosen options beside the config's.
add_table(
    "tuning_chosen", target="harness.analysis.tuning:chosen", version=2, sets=("tuning",),
    group="tuning", label="what the trials choose", caption="tuning",
)
