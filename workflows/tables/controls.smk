# Gains beside their controls: rewards and prompts swapped, and a judge that trained nothing.
add_table("controls", target="harness.analysis.controls:controls", version=1)


rule controls:
    input:
        unpack(lambda w: frames_of(CONTROLS, "scores", "images")),
    output:
        **table_files("controls", what="gains and their controls"),
    log:
        "results/logs/tables/controls.log",
    threads: 1
    params:
        job=lambda w: table_job(
            "controls",
            "results/tables/controls",
            frames_of(CONTROLS, "scores", "images"),
            swapped_reward=config["controls"]["swapped_reward"],
            models=config["models"],
            methods=config["controls"]["methods"],
        ),
    message:
        "tabulate the controls"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"
