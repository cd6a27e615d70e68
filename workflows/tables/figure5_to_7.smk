# Base and noise network from the same noises, on one of the config's first three models each: the
# paper's figures 5 to 7.
for place, ordinal in enumerate(["first", "second", "third"], 1):
    add_table(
        f"figure{4 + place}", target="harness.report.grids:side_by_side", version=1, makes="figure",
        methods=("base", "hypernoise"), place=place, n_images=3, prompts_per_task=2,
        label=f"figure {4 + place}: the {ordinal} model", category="Images from the same noise", caption="figure5_to_7",
    )
