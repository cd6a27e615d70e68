# The KL of noise networks, term by term, over training steps.
add_table("audit", target="harness.analysis.kl_table:kl_table", version=1)

audited = {"models": config["models"], "methods": config["audit"]["methods"]}


rule audit:
    input:
        audits=audit_frames(**audited),
    output:
        **table_files("audit", what="the KL of noise networks, term by term"),
    log:
        "results/logs/tables/audit.log",
    threads: 1
    params:
        job=audit_table_job("audit", **audited),
    message:
        "tabulate the audit"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"
