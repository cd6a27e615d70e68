# The KL of noise networks, term by term, over training steps.
add_table("audit", target="harness.analysis.kl_table:kl_table", version=1)


rule audit:
    input:
        audits=audit_frames(config["models"], config["audit"]["methods"]),
    output:
        **table_files("audit", what="the KL of noise networks, term by term"),
    log:
        "results/logs/tables/audit.log",
    threads: 1
    params:
        job=audit_table_job("audit", config["models"], config["audit"]["methods"]),
    message:
        "tabulate the audit"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"
