# The KL of noise networks, term by term, over training steps and regularisation weights.
add_table("audit", target="harness.audit:table", version=1)


rule audit:
    input:
        audits=audit_frames(),
    output:
        **table_files("audit", what="the KL of noise networks, term by term"),
    log:
        "results/logs/tables/audit.log",
    threads: 1
    params:
        job=table_job(
            "audit",
            "results/tables/audit",
            {"audits": audit_frames()},
            models=config["models"],
            methods=config["audit"]["methods"],
            temperatures=experiment.temperatures(),
        ),
    message:
        "tabulate the audit"
    shell:
        "python -m harness table --job {params.job:q} 2>&1 | tee {log}"
