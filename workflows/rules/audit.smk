# What the KL of a trained noise network's noise is, and what of it its training penalised.
rule audit_network:
    input:
        ask.files("training_of"),
    output:
        places.AUDITS,
    log:
        "results/logs/audits/{model}/{reward}/{method}.log",
    threads: 1
    resources:
        **cluster.resources("audit_network", ask.gpus),
    params:
        **ask.job("audit_network"),
    message:
        "audit {wildcards.method} on {wildcards.model}"
    shell:
        "python -m harness audit --threads {threads} --job {params.job:q} 2>&1 | tee {log}"
