# The same noise under every method: a grid per model, as in the paper's figures 1 and 5 to 8.
add_table("grids", target="harness.report.figures:grid", version=1, prompts_per_task=1)


rule grid:
    input:
        images=lambda w: image_frames(config["benchmark"], w.model),
        scores=lambda w: expand(SCORES, selection=config["benchmark"], model=w.model),
    output:
        **figure_files("grid_{model}", "grids", SAME_NOISE, model="{model}"),
    log:
        "results/logs/figures/grid_{model}.log",
    threads: 1
    params:
        job=lambda w: table_job(
            "grids",
            f"results/figures/grid_{w.model}",
            {
                "images": image_frames(config["benchmark"], w.model),
                "scores": expand(SCORES, selection=config["benchmark"], model=w.model),
            },
            model=w.model,
            methods=config["methods"],
        ),
    message:
        "draw the grid of {wildcards.model}"
    shell:
        "python -m harness figure --job {params.job:q} 2>&1 | tee {log}"


rule grids:
    input:
        expand(rules.grid.output, model=config["models"]),
