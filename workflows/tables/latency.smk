# What methods cost stage by stage, and against the base: `snakemake latency`.
add_table(
    "latency", target="harness.analysis.latency_table:latency", version=3, sets=("latency",),
    label="what methods cost, stage by stage",
)
