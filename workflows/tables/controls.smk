# Gains beside their controls: rewards and prompts swapped, and a judge that trained nothing.
add_table(
    "controls", target="harness.analysis.controls:controls", version=1, sets=("controls",),
    label="gains and their controls",
)
