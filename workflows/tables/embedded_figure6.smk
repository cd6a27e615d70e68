# The embedded world's counterpart of the paper's figure 6: fine-tuning too, on the second model.
add_table(
    "embedded_figure6", target="harness.report.grids:side_by_side", version=1, makes="figure",
    methods=("base", "lora_finetune_final", "hypernoise"), place=2,
    label="figure 6, embedded: fine-tuning",
    category="Images from the same noise", caption="embedded_figures",
)
