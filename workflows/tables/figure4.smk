# What rising reward does to image quality while a network is trained: the paper's figure 4.
add_table("figure4", target="harness.report.figures:figure4", version=1)


rule figure4:
    input:
        training_folders(**config["figure4"]),
    output:
        **figure_files("figure4", what="reward against quality during training"),
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
