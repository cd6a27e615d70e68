# Finished images, as they are on disk, through the benchmark's scorer and the rewards.
rule score:
    input:
        images=ask.files("images"),
        weights=ask.files("scored_by"),
    output:
        places.SCORES,
    log:
        "results/logs/scores/{image_set}/{model}.log",
    # Where there is a GPU, threads but the first decode images ahead.
    threads: 4 if ask.gpus else 1
    resources:
        **cluster.resources("score", ask.gpus),
    params:
        **ask.job("score"),
    message:
        "score {wildcards.image_set} of {wildcards.model}"
    shell:
        "python -m harness score --threads {threads} --job {params.job:q} 2>&1 | tee {log}"
