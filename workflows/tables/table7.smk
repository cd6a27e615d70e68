# How much the images of a prompt differ: the paper's table 7.
add_table("table7", target="harness.analysis.diversity:table", version=1)


rule table7:
    input:
        lambda w: frames_of(DIVERSITY, "pairs")["pairs"],
    output:
        **table_files("table7", what="diversity of the images of a prompt"),
    log:
        "results/logs/tables/table7.log",
    threads: 1
    params:
        job=lambda w: table_job(
            "table7",
            "results/tables/table7",
            frames_of(DIVERSITY, "pairs"),
            models=experiment.selected_models(DIVERSITY),
            methods=config["diversity"]["methods"],
        ),
    message:
        "tabulate table 7"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"
