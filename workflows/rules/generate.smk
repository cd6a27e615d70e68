# A method's images of a benchmark, always from the same noise.
rule generate:
    input:
        ask.needs_of,
    output:
        frame=f"{places.IMAGES}/images.parquet",
        trajectories=f"{places.IMAGES}/trajectories.parquet",
        images=directory(f"{places.IMAGES}/png"),
    log:
        "results/logs/images/{benchmark}/{model}/{method}/{reward}/steps{steps}.log",
    priority: 1
    threads: 1
    resources:
        **cluster.resources("generate", ask.gpus),
    params:
        **ask.job("generate"),
    message:
        "generate {wildcards.benchmark} with {wildcards.method} on {wildcards.model}"
    shell:
        "python -m harness generate --threads {threads} --job {params.job:q} 2>&1 | tee {log}"
