# DPG-Bench by what propositions are about, as the published scorer lists it.
add_table(
    "dpg_categories", target="harness.analysis.dpg_categories:table", version=1, sets=("dpg",),
    label="DPG-Bench by category of propositions",
)
