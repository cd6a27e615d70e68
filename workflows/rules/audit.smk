# What the KL of a trained noise network's noise is, beside the part that its training penalised.
def audited_training(wildcards):
    """The folder of the training that an audit looks into."""
    model, reward = wildcards.model, wildcards.reward
    training = experiment.training(model, reward, wildcards.method)
    return TRAINING.format(model=model, reward=reward, training=training)


rule audit_network:
    input:
        audited_training,
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
                training=audited_training(w),
                out=AUDITS.format(**w),
                work=work_folder("audits", w),
            )
        ),
    message:
        "audit {wildcards.method} on {wildcards.model}"
    shell:
        "python -m harness audit --threads {threads} --job {params.job:q} 2>&1 | tee {log}"
