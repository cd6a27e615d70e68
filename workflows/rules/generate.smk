# A method's images of a benchmark, always from the same noise.
rule generate:
    input:
        lambda w: weights_of(run_of(w)),
    output:
        frame=f"{IMAGES}/images.parquet",
        trajectories=f"{IMAGES}/trajectories.parquet",
        images=directory(f"{IMAGES}/png"),
    log:
        "results/logs/images/{benchmark}/{model}/{method}/{reward}/steps{steps}.log",
    priority: 1
    threads: 1
    resources:
        gpu=gpus,
    params:
        job=lambda w: to_json(
            experiment.generate_job(
                run_of(w),
                adapter_of(run_of(w)),
                out=f"{IMAGES}/images.parquet".format(**w),
                work=work_folder("images", w),
            )
        ),
    message:
        "generate {wildcards.benchmark} with {wildcards.method} on {wildcards.model}"
    shell:
        "python -m harness generate --threads {threads} --job {params.job:q} 2>&1 | tee {log}"
