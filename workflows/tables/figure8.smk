# Base and noise network from the same noise in few steps: the paper's figure 8.
add_table(
    "figure8", target="harness.report.grids:side_by_side", selections=("few_steps",), version=1
)


rule figure8:
    input:
        unpack(lambda w: frames_for("figure8", "images", "scores")),
    output:
        **figure_files("figure8", what="figure 8: few steps", category=SAME_NOISE),
    log:
        "results/logs/figures/figure8.log",
    threads: 1
    params:
        job=lambda w: grid_job("figure8", ["base", "hypernoise"]),
    message:
        "draw figure 8"
    shell:
        "python -m harness figure --job {params.job:q} 2>&1 | tee {log}"
