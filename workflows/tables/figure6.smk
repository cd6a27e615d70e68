# Base and noise network from the same noises, on the config's second model: the paper's figure 6.
add_table("figure6", target="harness.grids:side_by_side", version=1, prompts_per_task=2)


rule figure6:
    input:
        unpack(lambda w: frames_of_model(nth_model("figure6", 1))),
    output:
        png=report(
            "results/figures/figure6.png",
            caption="../report/figure6.rst",
            category="Images from the same noise",
            labels={"what": "figure 6: the second model"},
        ),
        pdf="results/figures/figure6.pdf",
    log:
        "results/logs/figures/figure6.log",
    threads: 1
    params:
        job=lambda w: table_job(
            "figure6",
            "results/figures/figure6",
            frames_of_model(nth_model("figure6", 1)),
            columns=columns([nth_model("figure6", 1)], ["base", "hypernoise"], n_images=3),
        ),
    message:
        "draw figure 6"
    shell:
        "python -m harness figure --job {params.job:q} 2>&1 | tee {log}"
