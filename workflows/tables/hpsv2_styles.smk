# HPSv2.1 of each style, where the config's benchmark is hpsv2.
add_table("hpsv2_styles", target="harness.analysis.hpsv2_styles:table", version=1)


rule hpsv2_styles:
    input:
        **main_frames("scores"),
    output:
        **table_files("hpsv2_styles"),
    log:
        "results/logs/tables/hpsv2_styles.log",
    threads: 1
    params:
        job=table_job(
            "hpsv2_styles",
            "results/tables/hpsv2_styles",
            main_frames("scores"),
            models=config["models"],
            methods=config["methods"],
        ),
    message:
        "tabulate HPSv2 by style"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"
