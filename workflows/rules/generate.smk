# A method's images of a benchmark, always from the same noise.
rule generate:
    input:
        cluster.needs(ask.needs_of),
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
        **ask.job("generate", cluster.cut),
    message:
        "generate {wildcards.benchmark} with {wildcards.method} on {wildcards.model}"
    shell:
        "python -m harness generate --threads {threads} --job {params.job:q} 2>&1 | tee {log}"


# A part of them, which the rule above joins: config key `shards`.
rule generate_shard:
    input:
        ask.needs_of,
    output:
        made=temp(f"{places.IMAGES_SHARD}/made.json"),
        images=temp(directory(f"{places.IMAGES_SHARD}/png")),
    log:
        "results/logs/images/{benchmark}/{model}/{method}/{reward}/steps{steps}/{shard}-of-{shards}.log",
    priority: 1
    threads: 1
    resources:
        **cluster.resources("generate", ask.gpus),
    params:
        **ask.job("generate", cluster.cut),
    message:
        "generate {wildcards.benchmark} with {wildcards.method} on {wildcards.model}, shard {wildcards.shard} of {wildcards.shards}"
    shell:
        "python -m harness generate --threads {threads} --job {params.job:q} 2>&1 | tee {log}"
