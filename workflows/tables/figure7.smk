# Base and noise network from the same noises, on the config's third model: the paper's figure 7.
add_table("figure7", target="harness.grids:side_by_side", version=1, prompts_per_task=2)


rule figure7:
    input:
        unpack(lambda w: frames_of_model(nth_model("figure7", 2))),
    output:
        png=report(
            "results/figures/figure7.png",
            caption="../report/figure7.rst",
            category="Images from the same noise",
            labels={"what": "figure 7: the third model"},
        ),
        pdf="results/figures/figure7.pdf",
    log:
        "results/logs/figures/figure7.log",
    threads: 1
    params:
        job=lambda w: table_job(
            "figure7",
            "results/figures/figure7",
            frames_of_model(nth_model("figure7", 2)),
            columns=columns([nth_model("figure7", 2)], ["base", "hypernoise"], n_images=3),
        ),
    message:
        "draw figure 7"
    shell:
        "python -m harness figure --job {params.job:q} 2>&1 | tee {log}"
