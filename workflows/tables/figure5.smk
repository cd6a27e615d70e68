# Base and noise network from the same noises, on the config's first model: the paper's figure 5.
add_table("figure5", target="harness.grids:side_by_side", version=1, prompts_per_task=2)


rule figure5:
    input:
        unpack(lambda w: frames_of_model(nth_model("figure5", 0))),
    output:
        png=report(
            "results/figures/figure5.png",
            caption="../report/figure5.rst",
            category="Images from the same noise",
            labels={"what": "figure 5: the first model"},
        ),
        pdf="results/figures/figure5.pdf",
    log:
        "results/logs/figures/figure5.log",
    threads: 1
    params:
        job=lambda w: table_job(
            "figure5",
            "results/figures/figure5",
            frames_of_model(nth_model("figure5", 0)),
            columns=columns([nth_model("figure5", 0)], ["base", "hypernoise"], n_images=3),
        ),
    message:
        "draw figure 5"
    shell:
        "python -m harness figure --job {params.job:q} 2>&1 | tee {log}"
