# Timings run alone: a job that takes all cores has no neighbours. Torch's own threads are the
# config's, so that times do not depend on --cores.
rule profile:
    input:
        lambda w: [file for run in timed(w) for file in weights_of(run)],
    output:
        TIMINGS,
    log:
        "results/logs/timings/{selection}/{model}.log",
    threads: lambda wildcards: workflow.cores
    resources:
        gpu=gpus,
    params:
        job=lambda w: to_json(
            experiment.profile_job(
                w.selection,
                w.model,
                {run.method: adapter_of(run) for run in timed(w)},
                out=TIMINGS.format(**w),
            )
        ),
    message:
        "time the methods of {wildcards.selection} on {wildcards.model}"
    shell:
        "python -m harness profile --job {params.job:q} 2>&1 | tee {log}"
