# The images of each prompt, compared with one another: what diversity is made of.
rule pairs:
    input:
        ask.files("images"),
    output:
        places.PAIRS,
    log:
        "results/logs/pairs/{image_set}/{model}.log",
    # Where there is a GPU, threads but the first decode images ahead.
    threads: 4 if ask.gpus else 1
    resources:
        **cluster.resources("pairs", ask.gpus),
    params:
        **ask.job("pairs"),
    message:
        "compare images of {wildcards.image_set} of {wildcards.model}"
    shell:
        "python -m harness pairs --threads {threads} --job {params.job:q} 2>&1 | tee {log}"
