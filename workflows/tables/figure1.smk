# Base and noise network from the same noise, on every model: the paper's figure 1.
add_table("figure1", target="harness.grids:side_by_side", version=1)


rule figure1:
    input:
        unpack(lambda w: main_frames("images", "scores")),
    output:
        png=report(
            "results/figures/figure1.png",
            caption="../report/figure1.rst",
            category="Images from the same noise",
            labels={"what": "figure 1: every model"},
        ),
        pdf="results/figures/figure1.pdf",
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
