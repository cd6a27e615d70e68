# Finished images, as they are on disk, through the benchmark's scorer and the rewards.
rule score:
    input:
        images=lambda w: image_frames(w.selection, w.model),
        weights=lambda w: experiment.weight_files(*experiment.metrics(w.selection).values()),
    output:
        SCORES,
    log:
        "results/logs/scores/{selection}/{model}.log",
    # Beside a GPU, threads but the first decode images ahead.
    threads: 4 if gpus else 1
    resources:
        gpu=gpus,
    params:
        job=lambda w: to_json(
            experiment.score_job(
                w.selection, image_frames(w.selection, w.model), out=SCORES.format(**w)
            )
        ),
    message:
        "score {wildcards.selection} of {wildcards.model}"
    shell:
        "python -m harness score --threads {threads} --job {params.job:q} 2>&1 | tee {log}"
