# Timings run alone: a job that takes all cores has no neighbours, and on Slurm it asks for a node to
# itself. Torch's own threads are the config's, so that times do not depend on --cores.
rule profile:
    input:
        ask.files("timed"),
    output:
        places.TIMINGS,
    log:
        "results/logs/timings/{image_set}/{model}.log",
    # How long Snakemake saw it run; verify holds the timings against it.
    benchmark:
        "results/logs/timings/{image_set}/{model}.tsv"
    threads: lambda wildcards: workflow.cores if workflow.local_exec else experiment.config.timing.threads
    resources:
        **cluster.resources("profile", ask.gpus),
    params:
        **ask.job("profile"),
    message:
        "time the methods of {wildcards.image_set} on {wildcards.model}"
    shell:
        "python -m harness profile --job {params.job:q} 2>&1 | tee {log}"
