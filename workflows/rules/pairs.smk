# The images of each prompt, compared with one another: what diversity is made of.
rule pairs:
    input:
        lambda w: image_frames(w.selection, w.model),
    output:
        PAIRS,
    log:
        "results/logs/pairs/{selection}/{model}.log",
    # Beside a GPU, threads but the first decode images ahead.
    threads: 4 if gpus else 1
    resources:
        gpu=gpus,
    params:
        job=lambda w: to_json(
            experiment.pairs_job(image_frames(w.selection, w.model), out=PAIRS.format(**w))
        ),
    message:
        "compare images of {wildcards.selection} of {wildcards.model}"
    shell:
        "python -m harness pairs --threads {threads} --job {params.job:q} 2>&1 | tee {log}"
