# Base and HyperNoise, chosen by nobody: the paper's figure 8. Its prompts are not printed; these are
# GenEval's, the first of each task, with the first four noises.
SHOWN = {"model": "sana_sprint_0_6b", "steps": 1}
add_table(
    "figure8", target="harness.report.grids:side_by_side", version=2, makes="figure",
    columns=[SHOWN | {"method": m, "image_index": n} for n in range(4) for m in ("base", "hypernoise")],
    sets=("few_steps",), label="figure 8: chosen by nobody", category="Images from the same noise",
)
