# What the KL of a trained noise network's noise is, beside the part that its training penalised.
rule audit_network:
    input:
        training_of,
    output:
        AUDITS,
    log:
        "results/logs/audits/{model}/{reward}/{method}.log",
    threads: 1
    resources:
        gpu=gpus,
    params:
        job=lambda w: to_json(
            experiment.audit_job(
                **w,
                training=training_of(w),
                out=AUDITS.format(**w),
                work=work_folder("audits", w),
            )
        ),
    message:
        "audit {wildcards.method} on {wildcards.model}"
    shell:
        "python -m harness audit --threads {threads} --job {params.job:q} 2>&1 | tee {log}"
