# Base and noise network from the same noise, on every model: the paper's figure 1.
add_table("figure1", target="harness.report.grids:side_by_side", version=1)


rule figure1:
    input:
        unpack(lambda w: main_frames("images", "scores")),
    output:
        **figure_files("figure1", what="figure 1: every model", category=SAME_NOISE),
    log:
        "results/logs/figures/figure1.log",
    threads: 1
    params:
        job=lambda w: table_job(
            "figure1",
            "results/figures/figure1",
            main_frames("images", "scores"),
            columns=columns(config["models"], ["base", "hypernoise"]),
        ),
    message:
        "draw figure 1"
    shell:
        "python -m harness figure --job {params.job:q} 2>&1 | tee {log}"
