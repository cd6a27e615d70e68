# What rising reward does to image quality while a network is trained: the paper's figure 4.
add_table("figure4", target="harness.figures:figure4", version=1)


rule figure4:
    input:
        training_folders(**config["figure4"]),
    output:
        png=report(
            "results/figures/figure4.png",
            caption="../report/figure4.rst",
            category="Figures",
            labels={"what": "reward against quality during training"},
        ),
        pdf="results/figures/figure4.pdf",
    log:
        "results/logs/figures/figure4.log",
    threads: 1
    params:
        job=table_job(
            "figure4",
            "results/figures/figure4",
            {"training": [f"{f}/steps.parquet" for f in training_folders(**config["figure4"])]},
            **config["figure4"],
        ),
    message:
        "draw figure 4"
    shell:
        "python -m harness figure --job {params.job:q} 2>&1 | tee {log}"
