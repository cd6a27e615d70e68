# What searches have after 1, 2, 5, ... scored images: of Best-of-N, every Best-of-n.
add_table("search_budgets", target="harness.analysis.search_tables:search_budgets", version=1)


rule search_budgets:
    input:
        **frames_of(COMPARE, "trajectories"),
    output:
        **table_files("search_budgets", what="searches by the number of scored images"),
    log:
        "results/logs/tables/search_budgets.log",
    threads: 1
    params:
        job=table_job(
            "search_budgets",
            "results/tables/search_budgets",
            frames_of(COMPARE, "trajectories"),
            models=config["models"],
        ),
    message:
        "tabulate searches by the number of scored images"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"
