# What methods cost stage by stage, and against the base: `snakemake latency`.
add_table("latency", target="harness.analysis.latency_table:latency", version=2)

LATENCY = "results/timings/latency/{model}.parquet"


# Timings run alone, as those of `rule profile`.
rule measure_latency:
    input:
        lambda w: experiment.weight_files(
            w.model, *[r.name for r in [experiment.latency_job(w.model, out="").searched] if r]
        ),
    output:
        LATENCY,
    log:
        "results/logs/timings/latency/{model}.log",
    threads: lambda wildcards: workflow.cores
    resources:
        gpu=gpus,
    params:
        job=lambda w: to_json(experiment.latency_job(w.model, out=LATENCY.format(**w))),
    message:
        "measure what methods cost on {wildcards.model}"
    shell:
        "python -m harness profile --job {params.job:q} 2>&1 | tee {log}"


rule latency:
    input:
        expand(LATENCY, model=config["models"]),
    output:
        **table_files("latency", what="What methods cost, stage by stage"),
    log:
        "results/logs/tables/latency.log",
    threads: 1
    params:
        job=table_job(
            "latency",
            "results/tables/latency",
            {"timings": expand(LATENCY, model=config["models"])},
            models=config["models"],
        ),
    message:
        "tabulate what methods cost"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"
